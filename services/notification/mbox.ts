/**
 * One mail as an entry of a mailbox in the format mboxrd, which mail programs open: a line that begins with `From ` and
 * says when, the mail in lines that end in `\n`, an empty line. A line of the mail that would look like the first one, or
 * like one that has been quoted, gets a `>` in front.
 *
 * @param mail RFC 5322, in lines that end in `\r\n`.
 */
export function mboxEntry(mail: string, date: Date): string {
  const text = mail.replaceAll("\r\n", "\n").replace(/^>*From /gm, ">$&");
  return `From MAILER-DAEMON ${asctime(date)}\n${text}${text.endsWith("\n") ? "" : "\n"}\n`;
}

/** In UTC, as C writes it and mailboxes have it: `Thu Jan  1 00:00:00 2026`. */
function asctime(date: Date): string {
  const [weekday, day, month, year, time] = date.toUTCString().split(/,? /);
  return `${weekday} ${month} ${day?.replace(/^0/, " ")} ${time} ${year}`;
}
