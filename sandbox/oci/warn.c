/* What a container does not get although config.json asks for it: "MUST be logged as a warning" (config.md, "Linux
 * Process"). */
#include "oci/config.h"
#include "oci/fields.h"
#include "oci/life.h"

static void warn_capabilities(const struct oci_args *a, uint64_t set, const char *why)
{
	const struct words *known = config_words(CONFIG_CAPABILITIES);
	AUTO(buf_done) struct buf names = {0};

	for (size_t i = 0; i < known->n; i++)
		if (set >> known->words[i].value & 1)
			buf_printf(&names, "%s%s", names.len > 0 ? ", " : "", known->words[i].name);
	if (names.len > 0 && !names.failed)
		oci_warn(a, "capabilities are left out, for they are %s: %s", why, names.data);
}

void life_warn(const struct life *l)
{
	const struct ct_spec *s = l->spec;
	const uint64_t *caps = s->process.caps;
	uint64_t missing = 0;

	for (size_t i = 0; s->warnings && s->warnings[i]; i++)
		oci_warn(l->args, "%s", s->warnings[i]);
	/* In a user namespace of its own a container begins with all. */
	if (!s->ns[CT_USER].wanted)
		missing = (caps[CT_PERMITTED] | caps[CT_INHERITABLE]) & ~caps_permitted();
	warn_capabilities(l->args, missing, "not ours to give");
	warn_capabilities(l->args, caps[CT_AMBIENT] & ~missing & ~(caps[CT_PERMITTED] & caps[CT_INHERITABLE]),
			  "ambient, but not both permitted and inheritable");
}
