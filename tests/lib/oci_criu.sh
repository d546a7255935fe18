# What the tests of fsbox-oci's checkpoint and restore share, beside oci.sh. Images are in $T/img, logs in $T/work.
# shellcheck shell=sh

need_criu() {
	need_oci
	"$OCI" --version | grep -q '+CRIU' || skip "no CRIU (make criu)"
}

COUNT='i=0; while :; do i=$((i+1)); echo $i >/tmp/count.new; mv /tmp/count.new /tmp/count; sleep 0.05; done'
TMPFS='{"destination":"/tmp","type":"tmpfs","source":"tmpfs","options":["size=2m","noexec"]}'

script() { printf '.process.args = ["sh", "-c", %s]' "$(printf '%s' "$1" | jq -Rs .)"; }

start() { # ID BUNDLE
	"$OCI" --root "$T/state" run -d --bundle "$T/$2" "$1" </dev/null >/dev/null 2>&1 || fail "run of $2"
}

dump() { oci checkpoint --image-path "$T/img" --work-path "$T/work" "$@"; }
bring_back() { oci restore --detach --image-path "$T/img" --work-path "$T/work" "$@" </dev/null; }

dump_ok() {
	dump "$@"
	check_eq "$status" 0
}

bring_back_ok() {
	bring_back "$@"
	check_eq "$status" 0
}

pid_of() { "$OCI" --root "$T/state" state "$1" | jq .pid; }

count_of() { # ID: of the counter; it has one after a moment
	for count_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		count_now=$(cat "/proc/$(pid_of "$1")/root/tmp/count" 2>/dev/null)
		[ -z "$count_now" ] || break
		command sleep 0.1
	done
	echo "${count_now:-0}"
}

counts_on() { # ID FROM
	for counts_try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ "$(count_of "$1")" -le "$2" ] || return 0
		command sleep 0.1
	done
	fail "the counter stands at $(count_of "$1")"
}

one_line_with() { # TEXT: the failed command's error
	check_eq "$status" 1
	check_eq "$(wc -l <"$T/err")" 1
	check_contains "$T/err" "$1"
}
