// Two calls of s.proto as Connect knows them, without generated code.
import { create, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const text = ".p.Text";
const registry = createFileRegistry(create(FileDescriptorSetSchema, {
  file: [{
    name: "s.proto",
    package: "p",
    syntax: "proto3",
    messageType: [{
      name: "Text",
      field: [{ name: "text", jsonName: "text", number: 1, type: 9, label: 1 }],
    }],
    service: [{
      name: "S",
      method: [
        { name: "Unary", inputType: text, outputType: text },
        { name: "Fail", inputType: text, outputType: text },
        { name: "Count", inputType: text, outputType: text, serverStreaming: true },
        { name: "Both", inputType: text, outputType: text, clientStreaming: true, serverStreaming: true },
      ],
    }, {
      name: "Other",
      method: [{ name: "Unary", inputType: text, outputType: text }],
    }],
  }],
}));
export const S = registry.getService("p.S");
export const Other = registry.getService("p.Other");
