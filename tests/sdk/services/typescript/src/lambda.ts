// The SDK test services as an AWS Lambda function. In place of the platform a small HTTP server takes events and gives what
// the function returned; the Invoke API around it is a stand-in of the tests (tests/support/lambda.rs).

import * as http from "node:http";
import type { AddressInfo } from "node:net";

import { createEndpointHandler } from "@restatedev/restate-sdk/lambda";

import { identityKeys, services } from "./services.ts";

const handler = createEndpointHandler({ services, identityKeys });

const server = http.createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const context = { awsRequestId: "00000000-0000-0000-0000-000000000000" };
  try {
    response.end(JSON.stringify(await handler(JSON.parse(Buffer.concat(chunks).toString()), context)));
  } catch (error) {
    const { name, message } = error as Error;
    response.writeHead(500).end(JSON.stringify({ errorType: name, errorMessage: message }));
  }
});
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`ready ${(server.address() as AddressInfo).port}`);
});
