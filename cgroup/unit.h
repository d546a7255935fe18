/* A transient scope of systemd's as a container's group: its name, its place, its properties. Pure: nothing here speaks to
 * systemd, which is fsbox-scope's (decision 021).
 *
 * From outside this is included by cgroup.h. Properties are words as busctl(1) takes them, each with its 0 byte: name,
 * signature, values; an array begins with the number of its elements. A name may end in "@VERSION": an older systemd
 * does not know the property, and it is left out there. What they mean: systemd.resource-control(5), systemd.scope(5),
 * org.freedesktop.systemd1(5). */
#pragma once

#include "base/str.h"
#include "spec/resources.h"

#include <sys/types.h>

struct cg_group;

/* systemd.unit(5): "a maximum of 255 characters". */
enum { CG_UNIT_ROOM = 256 };

struct cg_unit {
	char name[CG_UNIT_ROOM];  /* "libpod-abc.scope" */
	char slice[CG_UNIT_ROOM]; /* "machine.slice" */
};

/* From config.json's cgroupsPath, "SLICE:PREFIX:NAME", as runc and crun take it; NULL or "" is ":fsbox-oci:ID". @user: of
 * the user's manager, whose default slice is another. ERR_SPEC. */
NODISCARD int cg_unit_name(const char *path, const char *id, bool user, struct cg_unit *ret, struct err *e);
/* Where the system's manager makes its group: "/a.slice/a-b.slice/x.scope". ERR_LIMIT beyond @size. */
NODISCARD int cg_unit_path(const struct cg_unit *u, char *ret, size_t size, struct err *e);

/* What every container's scope has. @pid: the process that is moved into it. @host: any group, for its hierarchies. */
void cg_unit_basics(const struct cg_unit *u, const char *description, pid_t pid, const struct cg_group *host,
		    struct buf *words);
/* What systemd knows of @r's limits, by the conversions that the files have; it does not know all of them. With @update
 * only what changes a living group. */
NODISCARD int cg_unit_limits(const struct cg_group *host, const struct ct_resources *r, bool update, struct buf *words,
			     struct err *e);
/* Annotations "org.systemd.property.NAME", whose values are GVariant's text format: numbers, booleans, texts and arrays of
 * them. A name that ends in "Sec" is a time in seconds and becomes "USec". Others are passed over. */
NODISCARD int cg_unit_annotations(const struct ct_pair *list, size_t n, struct buf *words, struct err *e);
