// Of `pg_type`: what the drivers are told to read otherwise than they do.

/** PostgreSQL sends it as text lest it be rounded, and no sum here gets near 2^53. */
export const INT8 = 20;
/** A day has no time zone, as which a `Date` of it would be read. */
export const DATE = 1082;
