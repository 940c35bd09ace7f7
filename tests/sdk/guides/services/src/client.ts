// The tour of workflows, "Submitting workflows": a program that submits one and waits for its result.
// Usage: node client.ts <ingress URL> <workflow id>

import { connect } from "@restatedev/restate-sdk-clients";

import type { signupWorkflow } from "./workflows.ts";

const [url, id] = process.argv.slice(2);
const client = connect({ url });
const handle = await client
  .workflowClient<typeof signupWorkflow>({ name: "SignupWorkflow" }, id)
  .workflowSubmit({ name: "John Doe", email: "john@mail.com" });
console.log(JSON.stringify({ status: handle.status, result: await client.result(handle) }));
