/* Answers "answered", and leaves a process behind that does something between the calls, after as many milliseconds
 * as the event says (1): "junk": bytes that are no frames; "done": the answer to the next call; "exit": PID 1's last
 * words; "print": a line, again and again; "flood": lines without a pause; else nothing. */
#include "out.h"

#include <channel.h>
#include <unistd.h>

static void send_frame(uint16_t type, uint64_t call, const void *body, uint32_t len)
{
	struct chan_head head = {.len = len, .type = type, .call = call};

	(void)!write(4, &head, sizeof head);
	(void)!write(4, body, len);
}

static void misbehave(const fsbox_call *call)
{
	static const struct chan_exit last = {.magic = CHAN_EXIT_MAGIC, .code = 1 /* CLD_EXITED */};
	static char junk[70000];

	if (event_has(call, "junk")) {
		memset(junk, 0xee, sizeof junk);
		(void)!write(4, junk, sizeof junk);
	}
	if (event_has(call, "done")) {
		send_frame(CHAN_DATA, 2, "forged", 6);
		send_frame(CHAN_DONE, 2, NULL, 0);
	}
	if (event_has(call, "exit"))
		send_frame(CHAN_EXIT, 0, &last, sizeof last);
	while (event_has(call, "flood") || event_has(call, "print")) {
		(void)!write(STDOUT_FILENO, "late\n", 5);
		if (event_has(call, "print"))
			(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
}

int fsbox_handler(fsbox_call *call)
{
	unsigned long ms = event_number(call, 1);

	if (fork() == 0) {
		(void)nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000),
						   .tv_nsec = (long)(ms % 1000) * 1000000},
				NULL);
		misbehave(call);
		for (;;)
			(void)pause();
	}
	return fsbox_respond(call, "answered", 8);
}
