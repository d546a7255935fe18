#!/bin/sh
# Zip packages and zip layers: unpacked once, kept, and what a bad or hostile archive can do (nothing). Archives are made by
# Python's zipfile, which writes whatever it is told. beside-guest
# shellcheck source=tests/lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"
# shellcheck source=tests/lib/cell.sh
. "$(dirname "$0")/../lib/cell.sh"
LONG=$((20 * ${FSBOX_SLOWER:-1})) # seconds for what is not about time

[ -x /usr/bin/python3 ] || {
	echo '1..0 # SKIP there is no /usr/bin/python3'
	exit 0
}

# A program of Python that has `z`, an archive that is being written to $T/NAME, and `entry(name, data, mode)`.
archive() { # NAME PROGRAM
	/usr/bin/python3 - "$T/$1" "$2" <<-'END' || fail 'the archive cannot be made'
		import stat, sys, zipfile
		with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as z:
		    def entry(name, data="", mode=stat.S_IFREG | 0o644):
		        info = zipfile.ZipInfo(name, (2024, 5, 6, 7, 8, 10))
		        info.external_attr = mode << 16
		        info.create_system = 3
		        info.compress_type = zipfile.ZIP_DEFLATED
		        z.writestr(info, data)
		    exec(sys.argv[2])
	END
	chmod 755 "$TAP_DIR" "$T"
	chmod 644 "$T/$1"
}

own_packages() {
	XDG_STATE_HOME=$T/state
	export XDG_STATE_HOME
	packages=$T/state/fsbox/packages
}

PYTHON='entry("src/app.py", "import dep\ndef main(event, context):\n    return [dep.X, event]\n")
entry("dep.py", "X = 1\n")'

check_package() {
	own_packages
	rm -rf "$T/state"
	[ "$MODE" = root ] || {
		mkdir "$T/state"
		chown "$CELL_USER" "$T/state"
	}
	archive pkg.zip "$PYTHON"
	for i in 1 2; do
		cell_status 0 --runtime python --handler src/app.main "$T/pkg.zip" --event "$i"
		check_eq "$(cat "$T/out")" "[1, $i]"
	done
	check_eq "$(find "$packages" -mindepth 1 -maxdepth 1 | wc -l)" 1
	check_eq "$(find "$packages" -name 'app.cpython-*.pyc' | wc -l)" 1 # nothing is compiled in a cold start
}
test_a_package_is_unpacked_once_in_every_mode() {
	watch_world
	each_mode check_package
	check_world
}

test_a_package_that_has_changed_is_unpacked_anew() {
	need_root
	own_packages
	archive pkg.zip 'entry("app.py", "def main(event, context): return 1\n")'
	cell_status 0 --runtime python --handler app.main "$T/pkg.zip"
	check_eq "$(cat "$T/out")" 1
	archive pkg.zip 'entry("app.py", "def main(event, context): return 2\n")'
	cell_status 0 --runtime python --handler app.main "$T/pkg.zip"
	check_eq "$(cat "$T/out")" 2
	# What nobody has used for a week goes when the next one is made.
	find "$packages" -mindepth 1 -maxdepth 1 -exec touch -d '8 days ago' {} +
	mkdir "$packages/.new-1-1" # what a killed start has left
	touch -d '1 minute ago' "$packages/.new-1-1"
	archive pkg.zip 'entry("app.py", "def main(event, context): return 3\n")'
	cell_status 0 --runtime python --handler app.main "$T/pkg.zip"
	check_eq "$(find "$packages" -mindepth 1 -maxdepth 1 | wc -l)" 1
}

test_bootstraps_modes_links_and_layers() {
	need_root
	watch_world
	own_packages
	cat >"$T/serve.py" <<-'END'
		import http.client, json, os, stat, sys
		sys.path.insert(0, "/opt/python")
		import layered
		api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
		while True:
		    api.request("GET", "/2018-06-01/runtime/invocation/next")
		    r = api.getresponse()
		    r.read()
		    said = [layered.X, os.path.isdir("/var/task/empty"), oct(os.stat("/var/task/bootstrap").st_mode & 0o7777)]
		    api.request("POST", "/2018-06-01/runtime/invocation/%s/response" % r.headers["Lambda-Runtime-Aws-Request-Id"], json.dumps(said))
		    api.getresponse().read()
	END
	archive pkg.zip 'entry("bootstrap", "#!/bin/sh\nexec /usr/bin/python3 \"$LAMBDA_TASK_ROOT/lib/now\"\n", 0o104755)
entry("lib/serve.py", open("'"$T"'/serve.py").read())
entry("lib/now", "serve.py", 0o120777)
entry("empty/", "", 0o40755)'
	archive one.zip 'entry("python/layered.py", "X = 1\n")'
	archive two.zip 'entry("python/layered.py", "X = 2\n")'
	cell_status 0 --timeout "$LONG" --layer "$T/one.zip" --layer "$T/two.zip" "$T/pkg.zip"
	check_eq "$(cat "$T/out")" '[2, true, "0o755"]'
	check_world
}

# "NAME PROGRAM" by lines: refused with the words behind the '|'.
test_hostile_archives_are_refused_by_the_name_of_the_entry() {
	need_root
	watch_world
	own_packages
	while IFS='|' read -r program sentence; do
		archive pkg.zip "$program"
		cell --runtime python --handler app.main "$T/pkg.zip"
		note "$sentence"
		check_eq "$status" 126
		check_contains "$T/err" "$sentence"
		check_eq "$(find "$T/state" -mindepth 3 2>/dev/null | wc -l)" 0 # nothing is left
	done <<-'END'
		entry("/etc/x")|'/etc/x' has an absolute path
		entry("../x")|'../x' leads out of the package
		entry("a/../../x")|'a/../../x' leads out of the package
		entry("l", "/etc/passwd", 0o120777)|'l' is a link that leads out
		entry("l", "../x", 0o120777)|'l' is a link that leads out
		entry("a/l", "../../x", 0o120777)|'a/l' is a link that leads out
		entry("a/p", "..", 0o120777); entry("o", "a/p/..", 0o120777); entry("app.py")|'o' is a link that leads out
		entry("a/b/p", "../..", 0o120777); entry("__pycache__", "a/b/p/../x", 0o120777); entry("app.py")|is a link that leads out
		entry("l", "l", 0o120777)|'l' is a link that leads out
		entry("l", "none", 0o120777)|'l' is a link that leads nowhere
		[entry("/".join("%d" % i for _ in range(60)) + "/x") for i in range(1200)]|with the directories that they need
		entry("l", "a", 0o120777); entry("a/x"); entry("l/y")|'l/y' lies below something that is no directory
		entry("app.py", "1"); entry("app.py", "2")|'app.py' is there twice
		entry("a", "1"); entry("a/b", "2")|'a/b' lies below something that is no directory
		entry("a/b", "2"); entry("a", "1")|'a' is there twice
		entry("d", "", 0o20666)|'d' is a device
		entry("s", "", 0o140666)|'s' is a device, a pipe or a socket
		entry("x" * 300)|has a name that is too long
		entry("/".join("d" * 70) + "/x")|lies too deep
		entry("bomb", b"\0" * 262144001)|over 262144000 bytes
		[entry("n%d" % i) for i in range(65540)]|over 65536 entries, with
	END
}

test_what_is_compiled_is_bounded_and_follows_no_link() {
	need_root
	watch_world
	own_packages
	archive pkg.zip 'entry("app.py", "def main(event, context): return 1\n"); entry("big.py", "x = 1\n" * 100000)
[entry("m%d.py" % i, "big.py", 0o120777) for i in range(100)]
entry("real/x.py", "1\n"); entry("real/cache/none", ""); entry("real/__pycache__", "cache", 0o120777)'
	cell_status 0 --timeout "$LONG" --runtime python --handler app.main "$T/pkg.zip"
	check_eq "$(find "$packages" -name '*.pyc' | wc -l)" 2
	check_world
}

test_root_never_parses_an_archive_as_root() {
	need_root
	own_packages
	archive pkg.zip "$PYTHON"
	run setpriv --bounding-set=-chown --inh-caps=-chown "$FSBOX" run --no-limits --runtime python --handler src/app.main "$T/pkg.zip"
	check_ne "$status" 0
	check_contains "$T/err" 'giving a directory to nobody'
	check_eq "$(find "$packages" -name app.py | wc -l)" 0
}

test_broken_archives_are_refused() {
	need_root
	watch_world
	own_packages
	archive pkg.zip "$PYTHON"
	size=$(wc -c <"$T/pkg.zip")
	for keep in 4 30 100 $((size / 2)) $((size - 1)); do
		head -c "$keep" "$T/pkg.zip" >"$T/cut.zip"
		chmod 644 "$T/cut.zip"
		cell --runtime python --handler src/app.main "$T/cut.zip"
		check_eq "$status" 126
		check_contains "$T/err" cut.zip
	done
	# a flipped bit in what is compressed
	/usr/bin/python3 - "$T/pkg.zip" <<-'END'
		import sys
		data = bytearray(open(sys.argv[1], "rb").read())
		data[45] ^= 0x40
		open(sys.argv[1], "wb").write(data)
	END
	cell --runtime python --handler src/app.main "$T/pkg.zip"
	check_eq "$status" 126
	truncate -s 52428801 "$T/pkg.zip"
	cell --runtime python --handler src/app.main "$T/pkg.zip"
	check_eq "$status" 126
	check_contains "$T/err" 'at most 52428800'
	check_eq "$(find "$T/state" -mindepth 3 2>/dev/null | wc -l)" 0
	check_world
}

test_many_at_once_make_it_once_and_a_killed_one_leaves_nothing() {
	need_root
	watch_world
	own_packages
	archive pkg.zip "$PYTHON"
	for i in 1 2 3 4 5 6 7 8; do
		"$FSBOX" run --timeout "$LONG" --runtime python --handler src/app.main --event "$i" "$T/pkg.zip" >"$T/out.$i" 2>/dev/null &
	done
	wait
	for i in 1 2 3 4 5 6 7 8; do
		check_eq "$(cat "$T/out.$i")" "[1, $i]"
	done
	check_eq "$(find "$packages" -mindepth 1 -maxdepth 1 | wc -l)" 1
	rm -rf "$T/state"
	archive pkg.zip 'entry("app.py", "def main(event, context): return 1\n"); [entry("n%d" % i, "x" * 1000) for i in range(20000)]'
	for delay in 0.02 0.1 0.3; do
		"$FSBOX" run --runtime python --handler app.main "$T/pkg.zip" >/dev/null 2>&1 &
		pid=$!
		nap "$delay"
		kill -9 "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	find "$packages" -maxdepth 1 -name '.new-*' -exec touch -d '1 minute ago' {} +
	rm -rf "$packages"/[0-9a-f]* # were one of them faster than its end
	cell_status 0 --timeout "$LONG" --runtime python --handler app.main "$T/pkg.zip"
	check_eq "$(find "$packages" -mindepth 1 -maxdepth 1 | wc -l)" 1
	check_world
}

test_a_full_disk_is_said_and_leaves_nothing() {
	need_root
	own_packages
	mkdir "$T/state"
	mount -t tmpfs -o size=1m,mode=700 none "$T/state"
	archive pkg.zip 'import os; entry("app.py", os.urandom(3 << 20))'
	cell --runtime python --handler app.main "$T/pkg.zip"
	left=$(find "$T/state" -mindepth 3 | wc -l)
	umount "$T/state"
	check_eq "$status" 126
	check_contains "$T/err" 'No space left on device'
	check_eq "$left" 0
}

run_tests "$@"
