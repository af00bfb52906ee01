// A webhook's receiver and an API's client, as TypeScript checks them against the types generated from the description.
import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./api";

type Event = components["schemas"]["Event"];
type Succeeded = webhooks["pcsid.generation.succeeded"]["post"]["requestBody"]["content"]["application/json"];

/** `data` is known by the event's type. */
export function summary(event: Event): string {
  switch (event.type) {
    case "pcsid.generation.succeeded":
    case "pcsid.generation.failed": {
      const failed = event.data.checks.filter((check) => check.outcome === "FAILED");
      const rules = failed.flatMap((check) => check.errors.map((error) => error.rule ?? error.message));
      return `${event.data.activity_id} of ${event.data.vat}: ${rules.join(", ")} ${event.data.next_step?.en ?? ""}`;
    }
    case "upstream.credential.held":
    case "upstream.credential.restored":
      return `${event.data.credential} since ${event.data.held_since}`;
    case "upstream.vat.held":
    case "upstream.vat.restored":
      return `${event.data.vat}: ${event.data.reason}`;
    default:
      return event.type;
  }
}

export const devices = (event: Succeeded): string | null => event.data.device_id;

export async function failures(baseUrl: string, token: string): Promise<number> {
  const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
  const { data, error } = await client.GET("/v1/activities", { params: { query: { state: ["FAILED"] } } });
  if (error) throw new Error(error.detail);
  // A row and an event's data have the same names: what reads the one reads the other.
  const named = (of: Pick<components["schemas"]["ActivityEventData"], "counts" | "polls" | "next_step">) => of.polls;
  return data.items.reduce((sum, activity) => sum + named(activity), 0);
}
