// The SDK test services in TypeScript. The contract, with every handler's meaning, is ../../README.md.
// Run without a build step: Node strips the types, so only syntax that can be stripped is used.

import * as http from "node:http";
import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";

import { createEndpointHandler } from "@restatedev/restate-sdk";

import { caller, greeter } from "./calls.ts";
import { lazyMap, listObject, mapObject } from "./collections.ts";
import { combine, nonDet } from "./combine.ts";
import { proxy, signals } from "./generic.ts";
import { interpreter } from "./interpreter.ts";
import { counter, events, gate } from "./objects.ts";
import { sleeper, steps } from "./steps.ts";
import { awaiter, blocker, holder, tree } from "./waiting.ts";

const services = [
  ...[greeter, caller, proxy, signals, steps, sleeper, combine, awaiter],
  ...[counter, gate, events, listObject, mapObject, lazyMap, holder, tree, nonDet, interpreter],
  blocker,
];
const handler = createEndpointHandler({ services });
const server = process.env.HTTP1 === "1" ? http.createServer(handler) : http2.createServer(handler);
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`ready ${(server.address() as AddressInfo).port}`);
});
