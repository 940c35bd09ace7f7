// The SDK test services in TypeScript. The contract, with every handler's meaning, is ../../README.md.
// Run without a build step: Node strips the types, so only syntax that can be stripped is used.

import * as http from "node:http";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";

import { createEndpointHandler } from "@restatedev/restate-sdk";

import { identityKeys, services } from "./services.ts";

const handler = createEndpointHandler({ services, identityKeys });
const server = process.env.HTTP1 === "1" ? http.createServer(handler) : http2.createServer(handler);
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`ready ${(server.address() as AddressInfo).port}`);
});
