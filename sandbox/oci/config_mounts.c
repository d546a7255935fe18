/* "mounts": config.md, "Mounts", and the options that runc and crun know by name. */
#include "oci/config_tables.h"

#include <errno.h>
#include <sys/mount.h>

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

#define AT(member) offsetof(struct ct_mount, member)

enum effect { SET, CLEAR, SET_ALL, CLEAR_ALL, PROPAGATE, FLAG, NOTHING, DATA };

struct option {
	const char *name;
	enum effect effect;
	uint64_t value; /* of FLAG: the offset of a bool; of DATA: the file system's own word is @data */
	const char *data;
};

/* clang-format off */
static const struct option options[] = {
	{"ro",            SET,     MOUNT_ATTR_RDONLY},      {"rw",          CLEAR, MOUNT_ATTR_RDONLY},
	{"nosuid",        SET,     MOUNT_ATTR_NOSUID},      {"suid",        CLEAR, MOUNT_ATTR_NOSUID},
	{"nodev",         SET,     MOUNT_ATTR_NODEV},       {"dev",         CLEAR, MOUNT_ATTR_NODEV},
	{"noexec",        SET,     MOUNT_ATTR_NOEXEC},      {"exec",        CLEAR, MOUNT_ATTR_NOEXEC},
	{"nodiratime",    SET,     MOUNT_ATTR_NODIRATIME},  {"diratime",    CLEAR, MOUNT_ATTR_NODIRATIME},
	{"nosymfollow",   SET,     MOUNT_ATTR_NOSYMFOLLOW}, {"symfollow",   CLEAR, MOUNT_ATTR_NOSYMFOLLOW},
	/* One field of several values (mount_setattr(2)): to set one the others are cleared. relatime is the value 0. */
	{"noatime",       SET,     MOUNT_ATTR_NOATIME},     {"atime",       SET,   MOUNT_ATTR_RELATIME},
	{"relatime",      SET,     MOUNT_ATTR_RELATIME},    {"norelatime",  SET,   MOUNT_ATTR_STRICTATIME},
	{"strictatime",   SET,     MOUNT_ATTR_STRICTATIME}, {"nostrictatime", SET, MOUNT_ATTR_RELATIME},
	{"rro",           SET_ALL, MOUNT_ATTR_RDONLY},      {"rrw",         CLEAR_ALL, MOUNT_ATTR_RDONLY},
	{"rnosuid",       SET_ALL, MOUNT_ATTR_NOSUID},      {"rsuid",       CLEAR_ALL, MOUNT_ATTR_NOSUID},
	{"rnodev",        SET_ALL, MOUNT_ATTR_NODEV},       {"rdev",        CLEAR_ALL, MOUNT_ATTR_NODEV},
	{"rnoexec",       SET_ALL, MOUNT_ATTR_NOEXEC},      {"rexec",       CLEAR_ALL, MOUNT_ATTR_NOEXEC},
	{"rnodiratime",   SET_ALL, MOUNT_ATTR_NODIRATIME},  {"rdiratime",   CLEAR_ALL, MOUNT_ATTR_NODIRATIME},
	{"rnosymfollow",  SET_ALL, MOUNT_ATTR_NOSYMFOLLOW}, {"rsymfollow",  CLEAR_ALL, MOUNT_ATTR_NOSYMFOLLOW},
	{"rnoatime",      SET_ALL, MOUNT_ATTR_NOATIME},     {"ratime",      SET_ALL, MOUNT_ATTR_RELATIME},
	{"rrelatime",     SET_ALL, MOUNT_ATTR_RELATIME},    {"rnorelatime", SET_ALL, MOUNT_ATTR_STRICTATIME},
	{"rstrictatime",  SET_ALL, MOUNT_ATTR_STRICTATIME}, {"rnostrictatime", SET_ALL, MOUNT_ATTR_RELATIME},
	{"private",       PROPAGATE, MS_PRIVATE},           {"rprivate",    PROPAGATE, MS_PRIVATE | MS_REC},
	{"shared",        PROPAGATE, MS_SHARED},            {"rshared",     PROPAGATE, MS_SHARED | MS_REC},
	{"slave",         PROPAGATE, MS_SLAVE},             {"rslave",      PROPAGATE, MS_SLAVE | MS_REC},
	{"unbindable",    PROPAGATE, MS_UNBINDABLE},        {"runbindable", PROPAGATE, MS_UNBINDABLE | MS_REC},
	{"bind",          FLAG,    AT(bind)},               {"rbind",       FLAG, AT(recursive)},
	{"remount",       FLAG,    AT(remount)},            {"tmpcopyup",   FLAG, AT(copy_up)},
	{"copy-symlink",  FLAG,    AT(copy_symlink)},       {"src-nofollow", FLAG, AT(source_nofollow)},
	{"dest-nofollow", FLAG,    AT(target_nofollow)},    {"idmap",       FLAG, AT(idmap)},
	{"ridmap",        FLAG,    AT(idmap_recursive)},
	/* Of the whole file system; fsconfig(2) takes these words as they are. */
	{"sync",          DATA,    0, "sync"},              {"async",       DATA, 0, "async"},
	{"dirsync",       DATA,    0, "dirsync"},           {"lazytime",    DATA, 0, "lazytime"},
	{"nolazytime",    DATA,    0, "nolazytime"},
	{"mand",          DATA,    0, "mand"},              {"nomand",      DATA, 0, "nomand"},
	/* Accepted and without effect: the default, or kernel flags of other days. */
	{"defaults",      NOTHING, 0},                      {"silent",      NOTHING, 0},
	{"loud",          NOTHING, 0},                      {"iversion",    NOTHING, 0},
	{"noiversion",    NOTHING, 0},                      {"acl",         NOTHING, 0},
	{"noacl",         NOTHING, 0},
};
/* clang-format on */

const char *const *config_mount_option_names(size_t *ret_n)
{
	static const char *names[ARRAY_LEN(options)];

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		names[i] = options[i].name;
	*ret_n = ARRAY_LEN(options);
	return names;
}

static const struct option *find_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static bool is_atime(uint64_t value)
{
	return value == MOUNT_ATTR_NOATIME || value == MOUNT_ATTR_STRICTATIME || value == MOUNT_ATTR_RELATIME;
}

/* The last word about one attribute holds. */
static void change(uint64_t *set, uint64_t *clear, uint64_t value, bool on)
{
	if (on && is_atime(value)) {
		*set = (*set & ~(uint64_t)MOUNT_ATTR__ATIME) | value;
		*clear |= MOUNT_ATTR__ATIME;
		return;
	}
	*set = on ? *set | value : *set & ~value;
	*clear = on ? *clear & ~value : *clear | value;
}

static void apply(struct ct_mount *m, const struct option *o)
{
	size_t n = 0;

	switch (o->effect) {
	case SET:
	case CLEAR:
		change(&m->set, &m->clear, o->value, o->effect == SET);
		break;
	case SET_ALL:
	case CLEAR_ALL:
		change(&m->set_recursive, &m->clear_recursive, o->value, o->effect == SET_ALL);
		break;
	case PROPAGATE:
		while (n < ARRAY_LEN(m->propagation) - 2 && m->propagation[n])
			n++;
		m->propagation[n] = o->value;
		break;
	case FLAG:
		*(bool *)(void *)((char *)m + o->value) = true;
		if (o->value == AT(recursive))
			m->bind = true;
		if (o->value == AT(idmap_recursive))
			m->idmap = true;
		break;
	case NOTHING:
	case DATA:
		break;
	}
}

static int read_options(struct reader *r, const struct field *f, const struct json *v, const struct json_path *here,
			void *to)
{
	struct ct_mount *m = to;
	const char **words = NULL;
	int rc = field_texts(r, f, v, here, &words);
	size_t n = 0;

	for (size_t i = 0; rc == 0 && words[i]; i++) {
		const struct option *o = find_option(words[i]);

		if (o)
			apply(m, o);
		if (o && o->effect == DATA)
			words[n++] = o->data;
		else if (!o)
			words[n++] = words[i]; /* the file system's own */
	}
	if (rc == 0) {
		words[n] = NULL;
		m->data = words;
	}
	return rc;
}

#define MAP(member) offsetof(struct id_map, member)
static const struct field map_fields[] = {
	{"containerID", field_u32, MAP(inside), NULL, true},
	{"hostID", field_u32, MAP(outside), NULL, true},
	{"size", field_u32, MAP(count), NULL, true},
};
TABLE(map_table, map_fields, struct id_map);

static const struct field mount_fields[] = {
	{"destination", field_text, AT(target), NULL, true},
	{"source", field_text, AT(source)},
	{"type", field_text, AT(type)},
	{"options", read_options, 0},
	{"uidMappings", field_objects, AT(uids), &map_table},
	{"gidMappings", field_objects, AT(gids), &map_table},
};
const struct table mount_table = {mount_fields, ARRAY_LEN(mount_fields), sizeof(struct ct_mount)};
