import { serve } from "../../fixture.ts";

serve(Number(process.env.BETA_PORT));
