# A Redis of one's own, on loopback. Debian's redis-tools has the server's program under the name of its checker
# (redis-server is a link to it, in a package that would also start a service on this machine).
# shellcheck shell=sh

redis_start() { # DIR: leaves $redis_pid and $REDIS_ADDRESS
	redis_dir=$1
	command -v redis-check-rdb >/dev/null 2>&1 || return 1
	ln -sf "$(command -v redis-check-rdb)" "$redis_dir/redis-server"
	redis_port=6379
	while [ $redis_port -lt 6399 ]; do
		redis_port=$((redis_port + 1))
		"$redis_dir/redis-server" --bind 127.0.0.1 --port $redis_port --save '' --appendonly no --dir "$redis_dir" \
			>"$redis_dir/redis.log" 2>&1 </dev/null &
		redis_pid=$!
		for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			kill -0 $redis_pid 2>/dev/null || break
			if grep -q 'Ready to accept' "$redis_dir/redis.log"; then
				REDIS_ADDRESS=127.0.0.1:$redis_port
				export REDIS_ADDRESS
				return 0
			fi
			command sleep 0.1
		done
		redis_stop # the port is somebody's
	done
	return 1
}

redis_stop() {
	[ -z "${redis_pid-}" ] || {
		kill "$redis_pid"
		wait "$redis_pid"
	} 2>/dev/null || :
	redis_pid=
}

redis() { # COMMAND…
	redis-cli -h "${REDIS_ADDRESS%:*}" -p "${REDIS_ADDRESS#*:}" "$@"
}
