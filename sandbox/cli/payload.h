/* Bodies of calls on the wire: the interface's type Payload. */
#pragma once

#include "cli/client.h"

enum {
	PAYLOAD_INLINE =
		98304, /* of an event as a JSON string; longer ones go by descriptor: messages end at 128 KiB */
};

/* The event as a Payload's JSON text. What is too long, or is no text that JSON can hold byte for byte (UTF-8 without NUL),
 * goes as a sealed memfd, whose index in the message is 0 and which is *ret_fd then, the caller's to close; else
 * FD_NONE. */
NODISCARD int payload_make(const char *data, size_t len, struct buf *ret_json, int *ret_fd, struct err *e);

/* The bytes of a Payload that came with @reply, appended to @to. */
NODISCARD int payload_read(const struct json *payload, const struct client_reply *reply, struct buf *to, struct err *e);
