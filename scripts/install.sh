#!/bin/sh
# Installs, upgrades, rolls back and removes the slicer-proxy binary, and its service with --service.
#
#   install.sh [--binary FILE] [--service] [--link]   install, or upgrade what is there
#   install.sh --rollback [--service]                 back to the binary before the last upgrade, and its state
#   install.sh --uninstall                            remove binary, link and service; the state stays
#
#   --binary FILE   default: slicer-proxy-<os>-<arch> beside this script, in ../dist or here
#   --link          a link named slicer, for the documented "slicer proxy …" commands; one that exists stays
#   --prefix DIR    default /usr/local
#   --root DIR      everything below DIR, for packages and tests
#
# Before an upgrade the state of the service is copied, for a newer program may write what an older one cannot read. A
# new version that does not come up is taken back at once, with that state.
set -eu

prefix=/usr/local root='' binary='' action=install service=no link=no
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=${2:?--binary needs a file}; shift ;;
    --prefix) prefix=${2:?--prefix needs a folder}; shift ;;
    --root) root=${2:?--root needs a folder}; shift ;;
    --service) service=yes ;;
    --link) link=yes ;;
    --rollback) action=rollback ;;
    --uninstall) action=uninstall ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "error: there is no option $1" >&2; exit 2 ;;
  esac
  shift
done

here=$(cd "$(dirname "$0")" && pwd)
bin=$root$prefix/bin
state=$root/var/lib/slicer-proxy
unit=$root/etc/systemd/system/slicer-proxy.service
agent=$root${HOME:-/root}/Library/LaunchAgents/local.slicer-proxy.plist
os=$(uname -s | sed 's/Linux/linux/; s/Darwin/macos/')
arch=$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')

say() { echo "$*" >&2; }
fail() { say "error: $*"; exit 1; }
has_unit() { [ "$os" = linux ] && [ -f "$unit" ]; }

stop_service() {
  if has_unit; then systemctl stop slicer-proxy; fi
  if [ "$os" = macos ] && [ -f "$agent" ]; then launchctl bootout "gui/$(id -u)" "$agent" 2>/dev/null || true; fi
}

start_service() {
  if has_unit; then
    systemctl daemon-reload
    systemctl enable --quiet slicer-proxy
    systemctl start slicer-proxy
    # "Started" is not yet "listening": wait until it answers.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      if SLICER_URL=$root/run/slicer-proxy/api.sock "$bin/slicer-proxy" status >/dev/null 2>&1; then return 0; fi
      systemctl is-failed --quiet slicer-proxy && return 1
      sleep 1
    done
    return 1
  fi
  if [ "$os" = macos ] && [ -f "$agent" ]; then launchctl bootstrap "gui/$(id -u)" "$agent"; fi
}

find_binary() {
  name=slicer-proxy-$os-$arch
  if [ -z "$binary" ]; then
    for each in "$here/$name" "$here/../dist/$name" "./$name"; do
      if [ -f "$each" ]; then binary=$each; break; fi
    done
  fi
  [ -n "$binary" ] && [ -f "$binary" ] || fail "there is no $name here: give it with --binary"
  # Where the sums of a release lie beside it, it has to be one of them.
  sums=$(dirname "$binary")/SHA256SUMS
  if [ -f "$sums" ]; then
    if command -v sha256sum >/dev/null; then sum=$(sha256sum "$binary"); else sum=$(shasum -a 256 "$binary"); fi
    grep -q "^${sum%% *} " "$sums" || fail "$binary is not what $sums says: download it again"
  fi
}

# The binary, the state and back: a copy of the state stands beside it as long as the binary that wrote it does.
save_old() {
  if [ -f "$bin/slicer-proxy" ]; then cp -p "$bin/slicer-proxy" "$bin/slicer-proxy.previous"; fi
  if [ -d "$state" ]; then rm -rf "$state.previous"; cp -Rp "$state" "$state.previous"; fi
}

restore_old() {
  [ -f "$bin/slicer-proxy.previous" ] || fail "there is no earlier binary to go back to"
  mv -f "$bin/slicer-proxy.previous" "$bin/slicer-proxy"
  if [ -d "$state.previous" ]; then
    rm -rf "$state.newer"
    if [ -d "$state" ]; then mv "$state" "$state.newer"; fi
    mv "$state.previous" "$state"
    say "the state is that of before the upgrade; what was changed since is in $state.newer"
  fi
}

install_binary() {
  mkdir -p "$bin"
  # Beside it and then renamed: a running one keeps its file, and there is never half a binary.
  cp "$binary" "$bin/.slicer-proxy.new"
  chmod 755 "$bin/.slicer-proxy.new"
  "$bin/.slicer-proxy.new" version >&2 || { rm -f "$bin/.slicer-proxy.new"; fail "$binary does not run here"; }
  mv -f "$bin/.slicer-proxy.new" "$bin/slicer-proxy"
  if [ "$link" = yes ]; then
    if [ -e "$bin/slicer" ] || [ -L "$bin/slicer" ]; then say "$bin/slicer exists and stays"; else ln -s slicer-proxy "$bin/slicer"; fi
  fi
}

install_service() {
  if [ "$os" = macos ]; then
    mkdir -p "$(dirname "$agent")" "$root$HOME/slicer-mac"
    sed "s|@HOME@|$HOME|g" "$here/local.slicer-proxy.plist" >"$agent"
    return
  fi
  [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "a service needs root: run it with sudo"
  getent passwd slicer-proxy >/dev/null || useradd --system --user-group --home-dir /var/lib/slicer-proxy --no-create-home --shell /usr/sbin/nologin slicer-proxy
  mkdir -p "$(dirname "$unit")" "$root/etc/slicer-proxy"
  sed "s|/usr/local/bin/|$prefix/bin/|" "$here/slicer-proxy.service" >"$unit"
  [ -f "$root/etc/slicer-proxy/up.env" ] || {
    echo '# Flags of slicer-proxy up, for example: SLICER_PROXY_FLAGS=--bind 192.168.222.1 --deny-cidr 192.168.1.0/24'
    echo 'SLICER_PROXY_FLAGS='
  } >"$root/etc/slicer-proxy/up.env"
}

case $action in
  install)
    find_binary
    stop_service
    save_old
    install_binary
    [ "$service" = no ] || install_service
    if ! start_service; then
      [ -f "$bin/slicer-proxy.previous" ] || fail "the service does not come up: journalctl -u slicer-proxy says why"
      say "the new version does not come up: journalctl -u slicer-proxy says why"
      stop_service
      restore_old
      start_service || fail "nor does the earlier one"
      fail "the earlier version runs again"
    fi
    ;;
  rollback)
    stop_service
    restore_old
    start_service || fail "it does not come up: journalctl -u slicer-proxy says why"
    "$bin/slicer-proxy" version >&2
    ;;
  uninstall)
    stop_service
    if has_unit; then systemctl disable --quiet slicer-proxy || true; rm -f "$unit"; systemctl daemon-reload; fi
    rm -f "$agent" "$bin/slicer-proxy" "$bin/slicer-proxy.previous"
    if [ "$(readlink "$bin/slicer" 2>/dev/null)" = slicer-proxy ]; then rm -f "$bin/slicer"; fi
    say "the state stays: $state, $root/var/lib/slicer-proxy-key, $root/etc/slicer-proxy"
    ;;
esac
