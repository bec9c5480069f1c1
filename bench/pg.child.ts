import { Pool } from "pg";
import { z } from "zod";
import { answerAsks, setupOf } from "./ask.ts";

/** The query that the broker is asked for, without the broker: one pool with as many connections as a lease has. */
const setup = setupOf(
  z.object({
    host: z.string(),
    port: z.number(),
    user: z.string(),
    password: z.string(),
    statement: z.string(),
    parameters: z.array(z.string()),
  }),
);
const { statement, parameters, ...login } = setup;
const pool = new Pool({ ...login, database: "postgres", max: 3 });

const running = z.object({ milliseconds: z.number(), connections: z.number() });

answerAsks(
  {
    async run(input) {
      const { milliseconds, connections } = running.parse(input);
      const latencies: number[] = [];
      const start = performance.now();
      const worker = async (): Promise<void> => {
        for (let begin = performance.now(); begin - start < milliseconds;) {
          await pool.query(statement, parameters);
          const end = performance.now();
          latencies.push((end - begin) * 1000);
          begin = end;
        }
      };
      await Promise.all(Array.from({ length: connections }, worker));
      return { milliseconds: performance.now() - start, latencies: Float64Array.from(latencies), failed: 0 };
    },
  },
  () => pool.end(),
);
