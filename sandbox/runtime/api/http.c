#include "runtime/api/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- Bytes ---- */

static bool room(struct bytes *b, size_t more)
{
	size_t cap = b->cap ? b->cap : 512;
	char *data;

	if (b->failed || more > SIZE_MAX / 2 - b->len)
		return false;
	while (cap - b->len <= more) /* and a 0 behind it */
		cap *= 2;
	if (cap == b->cap)
		return true;
	data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}

void bytes_add(struct bytes *b, const void *data, size_t len)
{
	if (!room(b, len))
		return;
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void bytes_puts(struct bytes *b, const char *s)
{
	bytes_add(b, s, strlen(s));
}

void bytes_printf(struct bytes *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0 && room(b, (size_t)n)) {
		(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void bytes_drop(struct bytes *b, size_t n)
{
	b->len -= n;
	if (n > 0 && b->len > 0)
		memmove(b->data, b->data + n, b->len);
	if (b->data)
		b->data[b->len] = '\0';
}

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

/* ---- Heads ---- */

size_t http_head_length(const char *data, size_t len)
{
	size_t at = 0, line = 0;

	while (at < len && (data[at] == '\r' || data[at] == '\n'))
		at++;
	for (line = at; at < len; at++) {
		if (at > HTTP_MAX_HEAD)
			return SIZE_MAX;
		if (data[at] != '\n')
			continue;
		if (at == line || (at == line + 1 && data[line] == '\r'))
			return at + 1;
		line = at + 1;
	}
	return len > HTTP_MAX_HEAD ? SIZE_MAX : 0;
}

static bool is_token(const char *s)
{
	static const char others[] = "!#$%&'*+-.^_`|~"; /* RFC 9110, 5.6.2 */

	if (!*s)
		return false;
	for (; *s; s++) {
		const char c = *s;

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr(others, c)))
			return false;
	}
	return true;
}

/* Ends a line at its CRLF or LF. Returns what follows; NULL when there is no end, or a 0 byte in it. */
static char *cut_line(char *line, const char *end)
{
	char *nl = memchr(line, '\n', (size_t)(end - line));

	if (!nl || memchr(line, '\0', (size_t)(nl - line)))
		return NULL;
	*nl = '\0';
	if (nl > line && nl[-1] == '\r')
		nl[-1] = '\0';
	return nl + 1;
}

/* "GET /path HTTP/1.1" */
static int parse_request_line(char *line, struct http_request *r, bool *ret_http10)
{
	char *path = strchr(line, ' '), *version = path ? strchr(path + 1, ' ') : NULL;

	if (!version || strchr(version + 1, ' '))
		return 400;
	*path++ = '\0';
	*version++ = '\0';
	if (!is_token(line) || strncmp(version, "HTTP/", 5) != 0)
		return 400;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return 505;
	if (strncmp(path, "http://", 7) == 0) { /* as to a proxy: RFC 9112, 3.2.2 */
		path = strchr(path + 7, '/');
		if (!path)
			return 400;
	}
	if (path[0] != '/')
		return 400;
	path[strcspn(path, "?#")] = '\0';
	*ret_http10 = strcmp(version, "HTTP/1.0") == 0;
	r->method = line;
	r->path = path;
	return 0;
}

static int parse_field(char *line, struct http_request *r)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (line[0] == ' ' || line[0] == '\t' || !colon) /* folded lines are obsolete: RFC 9112, 5.2 */
		return 400;
	*colon = '\0';
	if (!is_token(line))
		return 400;
	if (r->n_fields == HTTP_MAX_FIELDS)
		return 431;
	value = colon + 1 + strspn(colon + 1, " \t");
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	r->fields[r->n_fields++] = (struct http_field){.name = line, .value = value};
	return 0;
}

const char *http_field(const struct http_request *r, const char *name)
{
	for (size_t i = 0; i < r->n_fields; i++)
		if (strcasecmp(r->fields[i].name, name) == 0)
			return r->fields[i].value;
	return NULL;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 99;
}

size_t parse_digits(const char *s, unsigned base, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; digit(s[i]) < base; i++) {
		if (n > (max - digit(s[i])) / base)
			return 0;
		n = n * base + digit(s[i]);
	}
	*ret = n;
	return i;
}

/* Is @word one of the comma-separated words of @list? */
static bool has_word(const char *list, const char *word)
{
	const size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, ",")) {
		p += strspn(p, ", \t");
		if (strncasecmp(p, word, n) == 0 && strchr(", \t", p[n]))
			return true;
	}
	return false;
}

static bool parse_length(const char *s, uint64_t *ret)
{
	const size_t n = parse_digits(s, 10, INT64_MAX, ret);

	return n > 0 && s[n] == '\0';
}

/* How long the body is. Two different answers to that are an attack on somebody (RFC 9112, 6.3). */
static int parse_framing(struct http_request *r)
{
	bool has_length = false;

	for (size_t i = 0; i < r->n_fields; i++) {
		const struct http_field *f = &r->fields[i];
		uint64_t length;

		if (strcasecmp(f->name, "Transfer-Encoding") == 0) {
			if (strcasecmp(f->value, "chunked") != 0)
				return 501;
			if (r->chunked)
				return 400;
			r->chunked = true;
		} else if (strcasecmp(f->name, "Content-Length") == 0) {
			if (!parse_length(f->value, &length) || (has_length && length != r->length))
				return 400;
			r->length = length;
			has_length = true;
		} else if (strcasecmp(f->name, "Expect") == 0) {
			if (strcasecmp(f->value, "100-continue") != 0)
				return 417;
			r->expects_continue = true;
		} else if (strcasecmp(f->name, "Connection") == 0) {
			if (has_word(f->value, "close"))
				r->keep_alive = false;
			else if (has_word(f->value, "keep-alive"))
				r->keep_alive = true;
		}
	}
	return r->chunked && has_length ? 400 : 0;
}

int http_parse_head(char *head, size_t len, struct http_request *ret)
{
	const char *end = head + len;
	bool http10 = false;
	char *line, *next;
	int r;

	*ret = (struct http_request){0};
	for (line = head; line < end && (*line == '\r' || *line == '\n'); line++)
		;
	next = cut_line(line, end);
	if (!next)
		return 400;
	r = parse_request_line(line, ret, &http10);
	for (line = next; r == 0; line = next) {
		next = cut_line(line, end);
		if (!next)
			return 400;
		if (!*line)
			break;
		r = parse_field(line, ret);
	}
	ret->keep_alive = !http10;
	if (r == 0)
		r = parse_framing(ret);
	if (http10)
		ret->expects_continue = false; /* RFC 9110, 10.1.1 */
	return r == 0 && http10 && ret->chunked ? 400 : r;
}

/* ---- Bodies ---- */

void http_body_begin(struct http_body *b, const struct http_request *r)
{
	*b = (struct http_body){.at = r->chunked ? BODY_SIZE : BODY_LENGTH, .left = r->length};
	if (!r->chunked && r->length == 0)
		b->at = BODY_DONE;
}

void http_body_end(struct http_body *b)
{
	bytes_free(&b->line);
}

/* Collects a line up to its LF. 1 when it is whole; @limit is for the sum of all of this kind. */
static int take_line(struct http_body *b, const char *data, size_t len, size_t limit, size_t *ret_used)
{
	const char *nl = memchr(data, '\n', len);
	const size_t n = nl ? (size_t)(nl - data) + 1 : len;

	b->seen += n;
	if (b->seen > limit)
		return -EMSGSIZE;
	bytes_add(&b->line, data, n);
	*ret_used = n;
	if (b->line.failed)
		return -ENOMEM;
	return nl ? 1 : 0;
}

/* "1a;name=value\r\n" */
static int parse_chunk_size(const char *line, uint64_t *ret)
{
	const size_t digits = parse_digits(line, 16, INT64_MAX, ret);
	const char *rest = line + digits;

	rest += strspn(rest, " \t");
	return digits == 0 || (*rest != '\r' && *rest != '\n' && *rest != ';') ? -EPROTO : 0;
}

static int take_size(struct http_body *b, const char *data, size_t len, size_t *ret_used)
{
	int r = take_line(b, data, len, HTTP_MAX_CHUNK_LINE, ret_used);

	if (r <= 0)
		return r;
	r = parse_chunk_size(b->line.data, &b->left);
	b->line.len = b->seen = 0;
	b->at = b->left > 0 ? BODY_CHUNK : BODY_TRAILER;
	return r;
}

/* The trailer stays in b->line; it ends with an empty line. */
static int take_trailer(struct http_body *b, const char *data, size_t len, size_t *ret_used)
{
	const size_t begin = b->line.len;
	const bool fresh = begin == 0 || b->line.data[begin - 1] == '\n';
	int r = take_line(b, data, len, HTTP_MAX_TRAILER, ret_used);
	const char *line;

	if (r <= 0)
		return r;
	line = b->line.data + begin;
	if (!fresh) /* the line began in an earlier piece */
		for (line = b->line.data + begin; line > b->line.data && line[-1] != '\n'; line--)
			;
	if (*line == '\n' || (line[0] == '\r' && line[1] == '\n'))
		b->at = BODY_DONE;
	return 0;
}

static void take_data(struct http_body *b, const char *data, size_t len, size_t *ret_used, const char **ret_part,
		      size_t *ret_len)
{
	const size_t n = len < b->left ? len : (size_t)b->left;

	*ret_used = n;
	*ret_part = data;
	*ret_len = n;
	b->left -= n;
	if (b->left == 0)
		b->at = b->at == BODY_LENGTH ? BODY_DONE : BODY_CHUNK_END;
}

int http_body_feed(struct http_body *b, const char *data, size_t len, size_t *ret_used, const char **ret_part,
		   size_t *ret_len)
{
	int r = 0;

	*ret_used = *ret_len = 0;
	*ret_part = data;
	if (b->at == BODY_DONE || len == 0)
		return b->at == BODY_DONE;
	switch (b->at) {
	case BODY_LENGTH:
	case BODY_CHUNK:
		take_data(b, data, len, ret_used, ret_part, ret_len);
		break;
	case BODY_SIZE:
		r = take_size(b, data, len, ret_used);
		break;
	case BODY_CHUNK_END:
		r = take_line(b, data, len, HTTP_MAX_CHUNK_LINE, ret_used);
		if (r == 1) {
			r = strcmp(b->line.data, "\r\n") == 0 || strcmp(b->line.data, "\n") == 0 ? 0 : -EPROTO;
			b->line.len = b->seen = 0;
			b->at = BODY_SIZE;
		}
		break;
	case BODY_TRAILER:
		r = take_trailer(b, data, len, ret_used);
		break;
	case BODY_DONE:
		break;
	}
	return r < 0 ? r : b->at == BODY_DONE;
}

const char *http_trailer(const struct http_body *b, const char *name, char *buf, size_t size)
{
	const size_t n = strlen(name);

	for (const char *line = b->line.data, *nl; line && (nl = strchr(line, '\n')); line = nl + 1) {
		const char *value = line + n + 1, *end = nl;

		if ((size_t)(nl - line) <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
			continue;
		while (value < end && (*value == ' ' || *value == '\t'))
			value++;
		while (end > value && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
			end--;
		if ((size_t)(end - value) >= size)
			return NULL;
		memcpy(buf, value, (size_t)(end - value));
		buf[end - value] = '\0';
		return buf;
	}
	return NULL;
}

/* ---- Answers ---- */

static const char *reason(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 202:
		return "Accepted";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Request Entity Too Large";
	case 417:
		return "Expectation Failed";
	case 431:
		return "Request Header Fields Too Large";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}

void http_answer(struct bytes *out, unsigned status, const char *fields, const char *content_type, const void *body,
		 size_t len, bool keep_alive)
{
	bytes_printf(out, "HTTP/1.1 %u %s\r\n%s", status, reason(status), fields);
	if (content_type)
		bytes_printf(out, "Content-Type: %s\r\n", content_type);
	bytes_printf(out, "Content-Length: %zu\r\n%s\r\n", len, keep_alive ? "" : "Connection: close\r\n");
	bytes_add(out, body, len);
}

/* ---- base64 ---- */

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool http_base64_decode(struct bytes *b, const char *text)
{
	uint32_t bits = 0;
	unsigned n = 0;
	const char *p = text;

	for (; *p && *p != '='; p++) {
		const int v = sextet(*p);
		char byte;

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		n += 6;
		if (n < 8)
			continue;
		n -= 8;
		byte = (char)(bits >> n);
		bytes_add(b, &byte, 1);
	}
	return strspn(p, "=") == strlen(p) && strlen(p) <= 2 && n < 6 && !b->failed;
}
