import { serve } from "../../fixture.ts";

serve(Number(process.env.ALPHA_PORT));
