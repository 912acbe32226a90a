import { serve } from "../../lib/fixture.ts";

serve(Number(process.env.ALPHA_PORT));
