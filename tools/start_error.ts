/** The shop cannot start, for a reason that the person at the keyboard can do something about. */
export class StartError extends Error {
  override readonly name = "StartError";
}
