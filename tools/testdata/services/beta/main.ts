import { serve } from "../../lib/fixture.ts";

serve(Number(process.env.BETA_PORT));
