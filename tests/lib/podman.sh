# What the tests below podman share, beside oci.sh. They define pod(): podman with their storage and their cgroup driver.
# shellcheck shell=sh

ok() { # COMMAND...: podman succeeds
	run pod "$@"
	check_eq "$status" 0
}

says() { # TEXT COMMAND...: and prints this
	said=$1
	shift
	ok "$@"
	check_eq "$(tr -d '\r' <"$T/out")" "$said"
}
