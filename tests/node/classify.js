// node classify.js ADDRESS PIXELS: classifies a file of raw digits, 784 bytes each, at a server, and prints one line of
// JSON. A call that the server refuses ends it with 1, and "<code> <NAME>: <details>" on stderr.

"use strict";

const { readFileSync } = require("node:fs");
const path = require("node:path");
const { promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const PROTO = path.join(__dirname, "../../protos/digits/v1/digits.proto");
const TIMEOUT_MS = 10_000;

async function main(address, file) {
  // keepCase: the fields are called what the .proto calls them.
  const definition = protoLoader.loadSync(PROTO, { keepCase: true, defaults: true });
  const { DigitClassifier } = grpc.loadPackageDefinition(definition).digits.v1;
  const stub = new DigitClassifier(address, grpc.credentials.createInsecure());

  const call = (method, request) =>
    promisify(method).call(stub, request, { deadline: Date.now() + TIMEOUT_MS });

  try {
    const model = await call(stub.GetModel, {});
    const { digits, confidences, probabilities, model_version } = await call(stub.Classify, {
      pixels: readFileSync(file),
      include_probabilities: true,
    });
    console.log(JSON.stringify({ model, digits, confidences, probabilities, model_version }));
  } finally {
    stub.close();
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
