/* Events and answers of calls, whoever makes them: `fsbox run` or fsboxd. */
#include "cli/cli.h"

#include "base/base64.h"
#include "base/fd.h"
#include "json/json.h"

#include <stdio.h>

int cli_read_event(int fd, const char *arg, char **ret_data, size_t *ret_len, struct err *e)
{
	int r = fd_read_all(fd, SPEC_MAX_PAYLOAD, ret_data, ret_len);

	if (r == -EFBIG)
		return err_set(e, ERR_SPEC, EFBIG, "--event '%s': over %d bytes, the most that a call takes", arg,
			       SPEC_MAX_PAYLOAD);
	return r < 0 ? err_set(e, ERR_SPEC, -r, "--event '%s': %s", arg, strerrordesc_np(-r)) : 0;
}

static void error_document(struct buf *b, const struct call_result *r)
{
	if (r->error_document.len > 0) {
		buf_add(b, r->error_document.data, r->error_document.len);
		return;
	}
	buf_puts(b, "{\"errorMessage\":");
	json_add_string(b, r->error_message.data ? r->error_message.data : "", r->error_message.len);
	buf_puts(b, ",\"errorType\":");
	json_add_string(b, r->error_type, strlen(r->error_type));
	buf_puts(b, r->reported ? ",\"stackTrace\":[]}" : "}");
}

int cli_print_answer(const struct call_result *r, bool newline, int signal_fd)
{
	const struct buf *answer = &r->response;
	struct buf b = {0};
	int w;

	if (r->status == CALL_SUCCESS && !newline)
		return cli_write(STDOUT_FILENO, answer->data, answer->len, signal_fd);
	if (r->status == CALL_SUCCESS)
		buf_add(&b, answer->data ? answer->data : "", answer->len);
	else
		error_document(&b, r);
	buf_puts(&b, "\n");
	w = b.failed ? -ENOMEM : cli_write(STDOUT_FILENO, b.data, b.len, signal_fd);
	buf_done(&b);
	return w;
}

void cli_document_call(struct buf *b, const char *id, const struct call_result *r, const char *more)
{
	buf_puts(b, "{\"requestId\":");
	json_add_string(b, id, strlen(id));
	buf_printf(b, ",\"status\":\"%s\"", call_status_name(r->status));
	if (r->status == CALL_SUCCESS) {
		const char *answer = r->response.data ? r->response.data : "";

		if (json_is_value(answer, r->response.len)) {
			buf_puts(b, ",\"response\":");
			buf_add(b, answer, r->response.len);
		} else {
			buf_puts(b, ",\"responseBase64\":\"");
			base64_add(b, answer, r->response.len);
			buf_puts(b, "\"");
		}
	} else {
		buf_puts(b, ",\"errorType\":");
		json_add_string(b, r->error_type, strlen(r->error_type));
		buf_puts(b, ",\"errorMessage\":");
		json_add_string(b, r->error_message.data ? r->error_message.data : "", r->error_message.len);
		if (r->error_document.len > 0 && json_is_value(r->error_document.data, r->error_document.len)) {
			buf_puts(b, ",\"errorDocument\":");
			buf_add(b, r->error_document.data, r->error_document.len);
		}
	}
	buf_printf(b, ",\"metrics\":{\"durationMs\":%.3f,\"billedDurationMs\":%llu,\"memorySizeMB\":%llu",
		   (double)r->duration_ns / 1e6, (unsigned long long)r->billed_ms, (unsigned long long)r->memory_mb);
	if (r->has_memory)
		buf_printf(b, ",\"maxMemoryUsedMB\":%llu", (unsigned long long)r->max_memory_mb);
	if (r->has_init)
		buf_printf(b, ",\"initDurationMs\":%.3f", (double)r->init_ns / 1e6);
	if (r->has_restore)
		buf_printf(b, ",\"restoreDurationMs\":%.3f,\"billedRestoreDurationMs\":%llu",
			   (double)r->restore_ns / 1e6, (unsigned long long)r->billed_restore_ms);
	buf_printf(b, "}%s}", more ? more : "");
}

/* An answer that cannot be delivered is a failure of fsbox; a reader who has gone (EPIPE) wanted no more of it. */
int cli_explain_write(int r, struct err *e)
{
	if (r == -ECANCELED)
		return err_set(e, ERR_CANCELLED, ECANCELED, "interrupted while writing the answer");
	return r < 0 && r != -EPIPE ? err_sys(e, r, "writing to stdout") : 0;
}
