// Classifies picture files, or raw pixels of 784 bytes a digit, with a stub that is made from the .proto alone.
//
// npm ci --prefix examples/node
// node examples/node/classify.js localhost:50051 digit.png another.jpg
// node examples/node/classify.js localhost:50051 --pixels digits.raw
//
// Prints a line for each digit; with --json one line of JSON: the model, and the response as the .proto names it. A call
// that the server refuses ends it with 1, and "<code> <NAME>: <details>" on stderr.

"use strict";

const { readFileSync } = require("node:fs");
const path = require("node:path");
const { parseArgs, promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const PROTO = path.join(__dirname, "../../protos/digits/v1/digits.proto");
const TIMEOUT_MS = 10_000;

async function main() {
  const { values, positionals } = parseArgs({
    options: { json: { type: "boolean" }, pixels: { type: "string" } },
    allowPositionals: true,
  });
  const [address, ...files] = positionals;

  // keepCase: the fields are called what the .proto calls them.
  const definition = protoLoader.loadSync(PROTO, { keepCase: true, defaults: true });
  const { DigitClassifier } = grpc.loadPackageDefinition(definition).digits.v1;
  const stub = new DigitClassifier(address, grpc.credentials.createInsecure());
  const call = (method, request) => promisify(method).call(stub, request, { deadline: Date.now() + TIMEOUT_MS });

  const images = values.pixels
    ? { pixels: readFileSync(values.pixels) }
    : { pictures: files.map((file) => readFileSync(file)) }; // the server makes digits of them

  try {
    const response = await call(stub.Classify, { ...images, include_probabilities: true });
    if (values.json) {
      console.log(JSON.stringify({ model: await call(stub.GetModel, {}), ...response }));
    } else {
      response.digits.forEach((digit, i) => {
        const confidence = (100 * response.confidences[i]).toFixed(2).padStart(6);
        console.log(`${digit}  ${confidence}%  ${values.pixels ? `image ${i}` : files[i]}`);
      });
    }
  } finally {
    stub.close();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
