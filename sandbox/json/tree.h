/* Private to json/: JSON text as a tree, read quickly. Takes what RFC 8259 has, without NUL, lone surrogates, duplicate
 * keys, integers beyond 64 bits and reals beyond a double. It does not say what is wrong with the rest. */
#pragma once

#include "json/json.h"

enum { TREE_FIRST_BYTES = 640 };

/* A value. Strings and the text of reals stand in the tree's copy of the whole text. */
struct json {
	enum json_type type;
	bool truth;
	size_t len; /* bytes of text; elements; members */
	union {
		int64_t integer;
		const char *text;
		const struct json *elements;
		const struct json_member *members; /* in the order of the text */
	};
};

struct json_member {
	const char *key;
	size_t key_len;
	struct json value;
};

struct tree_block;

/* Must not move. */
struct tree {
	struct json root;
	struct tree_block *blocks; /* behind the first */
	char *room;                /* what is left of the newest */
	size_t left;
	_Alignas(max_align_t) char first[TREE_FIRST_BYTES];
};

/* @text is changed and has to live as long as the tree; text[len] is NUL. False when it is refused, or memory is out:
 * then *ret_oom. */
bool tree_read(struct tree *t, char *text, size_t len, bool *ret_oom);
void tree_done(struct tree *t); /* also after a failure */
