# Who may include whom. Input: C sources and headers below sandbox/, cgroup/, netns/, snapshot/. Prints each breach.
#
#   ring 4   cli daemon http shim spawn publish oci scope unpack   processes; never include each other
#   ring 3   cell
#   ring 2   rootfs confine cgroup netns snapshot package   mechanisms; never include each other
#   ring 1   spec wire                           pure data
#   ring 0   base sys json                       base knows nobody; sys and json know base
#   runtime  what runs inside a cell: knows only itself; cell/ and snapshot/ may read the channel's contract
#
# From outside, a folder is its header folder/folder.h, but rings 0 and 1 have one header per subject.

BEGIN {
	split("base=0 sys=0 json=0 spec=1 wire=1 rootfs=2 confine=2 cgroup=2 netns=2 snapshot=2 package=2 unpack=4 cell=3 " \
	      "cli=4 daemon=4 http=4 shim=4 spawn=4 publish=4 oci=4 scope=4 runtime=9", list, " ")
	for (i in list) {
		split(list[i], kv, "=")
		ring[kv[1]] = kv[2]
	}
	# One foreign library, one folder.
	owner["jansson.h"] = "json"
	owner["seccomp.h"] = "confine"
	owner["netlink/"] = "netns"
	owner["sys/capability.h"] = "confine"
	owner["openssl/"] = "snapshot"
	owner["archive"] = "unpack"
	owner["sqlite3.h"] = "daemon"
	owner["microhttpd.h"] = "http"
	owner["protobuf-c/"] = "shim"
	owner["systemd/"] = "scope"
}

function complain(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	bad = 1
}

FNR == 1 {
	n = split(FILENAME, part, "/")
	me = part[1] == "sandbox" ? part[2] : part[1]
	if (!(me in ring)) {
		complain("folder '" me "' has no ring; give it one in tests/lint/layers.awk")
		me = ""
	}
}

/^[ \t]*#[ \t]*include[ \t]*</ {
	header = $0
	sub(/^[^<]*</, "", header)
	sub(/>.*/, "", header)
	for (lib in owner)
		if (index(header, lib) == 1 && me != owner[lib])
			complain("<" header "> belongs to " owner[lib] "/ alone")
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
	header = $0
	sub(/^[^"]*"/, "", header)
	sub(/".*/, "", header)
	n = split(header, part, "/")
	if (n == 1)
		next # beside the file
	them = part[1]
	if (them == "sandbox" || them == "..") {
		complain("\"" header "\": write it from sandbox/ or from the top: \"folder/header.h\"")
		next
	}
	if (!(them in ring) || them == me || me == "")
		next
	if (them == "runtime") {
		if (!(header == "runtime/channel.h" && (me == "cell" || me == "snapshot")) &&
		    !(header == "runtime/enter/enter.h" && me == "cell"))
			complain("\"" header "\": only cell/ and snapshot/ know the runtime, and only runtime/channel.h (and enter/enter.h)")
		next
	}
	if (me == "runtime") {
		complain("\"" header "\": what runs in a cell includes nothing of the host side")
		next
	}
	if (ring[them] > ring[me])
		complain("\"" header "\": ring " ring[me] " (" me ") may not include ring " ring[them])
	else if (ring[them] == ring[me] && !(ring[me] == 0 && them == "base"))
		complain("\"" header "\": " me " and " them " are siblings")
	else if (ring[them] >= 2 && header != them "/" them ".h")
		complain("\"" header "\": from outside, " them "/ is " them "/" them ".h")
}

END { exit bad }
