#include "cli/terminal.h"

#include "base/fd.h"

#include <string.h>
#include <sys/ioctl.h>

/* The other screen and no cursor; back again. They are xterm's, and every terminal of today has them. */
static const char enter[] = "\033[?1049h\033[?25l", leave[] = "\033[?25h\033[?1049l";

bool terminal_open(struct terminal *t)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &t->before) < 0)
		return false;
	raw = t->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	raw.c_cc[VSUSP] = _POSIX_VDISABLE; /* stopped, we would leave the terminal as it is */
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return false;
	(void)!fd_write_all(STDOUT_FILENO, enter, sizeof enter - 1);
	return true;
}

void terminal_close(const struct terminal *t)
{
	(void)!fd_write_all(STDOUT_FILENO, leave, sizeof leave - 1);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
}

/* How many bytes of the line fit in so many columns; characters of UTF-8 are taken for one column each. */
static size_t fit(const char *line, size_t len, size_t columns)
{
	size_t n = 0, shown = 0;

	for (; n < len; n++) {
		const bool begins = ((unsigned char)line[n] & 0xc0) != 0x80;

		if (begins && shown == columns)
			break;
		shown += begins;
	}
	return n;
}

void terminal_frame(struct buf *b, const char *text)
{
	struct winsize size;
	size_t rows = 24, columns = 80;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
		rows = size.ws_row;
		columns = size.ws_col;
	}
	buf_puts(b, "\033[H");
	for (size_t row = 0; *text && row + 1 < rows; row++) { /* a newline in the last row would scroll */
		const char *nl = strchr(text, '\n');
		size_t len = nl ? (size_t)(nl - text) : strlen(text);

		buf_add(b, text, fit(text, len, columns));
		buf_puts(b, "\033[K\n");
		text += len + (nl != NULL);
	}
	buf_puts(b, "\033[J");
}

bool terminal_quits(void)
{
	char typed[64];
	ssize_t n = read(STDIN_FILENO, typed, sizeof typed);

	for (ssize_t i = 0; i < n; i++)
		if (typed[i] == 'q' || typed[i] == 'Q')
			return true;
	/* Nothing to read although it was said: hung up. */
	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}
