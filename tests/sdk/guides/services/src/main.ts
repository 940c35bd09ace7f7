// One endpoint with the services of all guides. What each must do is checked by ../../guides.rs; ../README.md lists them.

import * as http2 from "node:http2";
import type { AddressInfo } from "node:net";

import { createEndpointHandler } from "@restatedev/restate-sdk";

import { cronJob, cronJobInitiator, taskService } from "./cron.ts";
import { limiter, myService } from "./limiter.ts";
import * as orchestration from "./orchestration.ts";
import * as patterns from "./patterns.ts";
import { greeter } from "./quickstart.ts";
import { bookingWorkflow } from "./sagas.ts";
import * as workflows from "./workflows.ts";

const services = [
  greeter,
  bookingWorkflow,
  cronJob,
  cronJobInitiator,
  taskService,
  limiter,
  myService,
  ...Object.values(orchestration),
  ...Object.values(patterns),
  ...Object.values(workflows),
];
const server = http2.createServer(createEndpointHandler({ services }));
server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`ready ${(server.address() as AddressInfo).port}`);
});
