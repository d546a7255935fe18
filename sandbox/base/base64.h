/* Base64 (RFC 4648, section 4: the usual alphabet, padded). */
#pragma once

#include "base/str.h"

void base64_add(struct buf *b, const void *data, size_t len);
/* False when it is not exactly that: other characters, wrong padding, bits that are not zero. */
NODISCARD bool base64_decode(struct buf *b, const char *text, size_t len);
