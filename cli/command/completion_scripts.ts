/**
 * The completion scripts: how each shell is told what `positions.ts` found. They walk the words before the cursor to
 * the position in the command table, past a leading `proxy` or `help`, flags and their values. All is in the script: nothing
 * is run while somebody types.
 *
 * @module
 */
import type { FlagChoice, Position } from "./positions.ts";

/** The script for bash 3.2 and later: macOS has no other. */
export function bashScript(program: string, positions: readonly Position[]): string {
  const f = functionName(program);
  return `# bash completion for ${program}: source <(${program} completion bash)
# For a link named slicer: complete -F ${f} slicer
${tables(f, positions)}
${f}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} position='' flag='' word values i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    [ "$word" = = ] && continue # bash splits --flag=value
    ${walk(f)}
  done
  [ "$cur" = = ] && cur=''
  COMPREPLY=()
  if [ -n "$flag" ]; then
    values=$(${f}_values "$position" "$flag")
    case $values in
      @file) COMPREPLY=($(compgen -f -- "$cur")) ;;
      @folder) COMPREPLY=($(compgen -d -- "$cur")) ;;
      @text) ;;
      *) COMPREPLY=($(compgen -W "$values" -- "$cur")) ;;
    esac
  else
    values=$(${f}_words "$position")
    case $cur in -*) values= ;; esac
    [ -n "$values" ] || values=$(${f}_flags "$position")
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  fi
}
complete -o filenames -o bashdefault -F ${f} ${program}`;
}

/** The script for zsh, to be sourced after \`compinit\` or put into \`$fpath\` as \`_slicer-proxy\`. */
export function zshScript(program: string, positions: readonly Position[]): string {
  const f = functionName(program);
  const described = positions.map(({ path, words, flags }) =>
    `    ${quote(path)}) found=(${
      [...words, ...flags].map(({ word, description }) =>
        quote(`${word.replaceAll(":", "\\:")}:${description}`)
      )
        .join(" ")
    }) ;;`
  );
  return `#compdef ${program}
# zsh completion for ${program}: source <(${program} completion zsh)
# For a link named slicer: compdef ${f} slicer
${tables(f, positions)}
${f}() {
  local position='' flag='' word values
  local -a found
  for word in "\${(@)words[2,CURRENT-1]}"; do
    ${walk(f)}
  done
  if [[ -z $flag && $words[CURRENT] == --*=* ]] && ${f}_values "$position" "\${words[CURRENT]%%=*}" >/dev/null; then
    flag=\${words[CURRENT]%%=*}
    compset -P '*='
  fi
  if [[ -n $flag ]]; then
    values=$(${f}_values "$position" "$flag")
    case $values in
      @file) _files ;;
      @folder) _files -/ ;;
      @text) ;;
      *) compadd -- \${=values} ;;
    esac
    return
  fi
  case $position in
${described.join("\n")}
  esac
  # A word that is no flag is meant first; flags show once a dash is typed, or where nothing else can follow.
  if [[ $words[CURRENT] == -* || -z $(${f}_words "$position") ]]; then
    found=(\${(M)found:#-*})
  else
    found=(\${found:#-*})
  fi
  _describe ${quote(program)} found
}
if [[ $funcstack[1] == ${f} ]]; then ${f} "$@"; else compdef ${f} ${program}; fi`;
}

/** The script for fish. */
export function fishScript(program: string, positions: readonly Position[]): string {
  const f = `_${functionName(program)}`;
  const valued = positions.flatMap(({ path, flags }) =>
    flags.filter(({ value }) => value !== undefined).map(({ word }) => quoteFish(`${path} ${word}`))
  );
  const lines = positions.flatMap(({ path, words, flags }) => {
    const at = `complete -c ${program} -n ${quoteFish(`${f}_at ${quoteFish(path)}`)}`;
    return [
      ...words.map(({ word, description }) => `${at} -a ${quoteFish(word)} -d ${quoteFish(description)}`),
      ...flags.map((flag) => `${at} ${fishFlag(flag)}`),
    ];
  });
  return `# fish completion for ${program}: ${program} completion fish | source
# For a link named slicer: complete -c slicer -w ${program}
function ${f}_at
    set -l position ''
    set -l is_value 0
    for word in (commandline -opc)[2..-1]
        if test $is_value = 1
            set is_value 0
        else if string match -q -- '-*' $word
            contains -- "$position $word" ${valued.join(" ")}
            and set is_value 1
        else if test -z "$position"; and contains -- $word proxy help
            continue
        else if contains -- (string trim -- "$position $word") ${
    positions.slice(1).map(({ path }) => quoteFish(path)).join(" ")
  }
            set position (string trim -- "$position $word")
        end
    end
    test "$position" = "$argv[1]"
end
complete -c ${program} -f
${lines.join("\n")}`;
}

/** Shared by bash and zsh: three functions that print what can follow. */
function tables(f: string, positions: readonly Position[]): string {
  const list = (choices: readonly { readonly word: string }[]) => choices.map(({ word }) => word).join(" ");
  const rows = (of: (position: Position) => string) =>
    positions.map((position) => `    ${quote(position.path)}) echo ${quote(of(position))} ;;`).join("\n");
  const values = positions.flatMap(({ path, flags }) =>
    flags.flatMap(({ word, value }) =>
      value === undefined ? [] : [
        `    ${quote(`${path} ${word}`)}) echo ${
          quote(typeof value === "string" ? `@${value}` : value.join(" "))
        } ;;`,
      ]
    )
  );
  return `${f}_words() {
  case $1 in
${rows(({ words }) => list(words))}
  esac
}
${f}_flags() {
  case $1 in
${rows(({ flags }) => list(flags))}
  esac
}
${f}_values() {
  case "$1 $2" in
${values.join("\n")}
    *) return 1 ;;
  esac
}`;
}

/** Shared by bash and zsh: one word further; a value, a flag, a word to ignore, or a part of the command. */
function walk(f: string): string {
  return `if [ -n "$flag" ]; then flag=''; continue; fi
    case $word in
      -*) ${f}_values "$position" "$word" >/dev/null && flag=$word ;;
      proxy | help) ;;
      *)
        case " $(${f}_words "$position") " in
          *" $word "*) position=\${position:+$position }$word ;;
        esac
        ;;
    esac`;
}

function fishFlag({ word, description, value }: FlagChoice): string {
  const name = word.startsWith("--") ? `-l ${word.slice(2)}` : `-s ${word.slice(1)}`;
  const follows = value === undefined
    ? ""
    : value === "file"
    ? " -r -F"
    : value === "folder"
    ? " -x -a '(__fish_complete_directories)'"
    : value === "text"
    ? " -x"
    : ` -x -a ${quoteFish(value.join(" "))}`;
  return `${name}${follows} -d ${quoteFish(description)}`;
}

function functionName(program: string): string {
  return `_${program.replaceAll("-", "_")}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function quoteFish(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
