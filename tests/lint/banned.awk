# Calls that are not made here. Input: the output of code.awk. `allowed` is the file of exceptions.
BEGIN {
	# word = what to use instead
	split("strcpy=snprintf strcat=struct_buf sprintf=snprintf vsprintf=vsnprintf strncpy=snprintf strncat=struct_buf " \
	      "strtok=parse_it atoi=parse_u64 atol=parse_u64 atoll=parse_u64 atof=parse_seconds strtol=parse_u64 " \
	      "strtoul=parse_u64 strtoll=parse_u64 strtoull=parse_u64 gets=fd_read_all mktemp=mkostemp tmpnam=mkostemp " \
	      "localtime=clock_gettime ctime=clock_gettime asctime=clock_gettime basename=strrchr dirname=strrchr " \
	      "alloca=arena_alloc rand=getrandom srand=getrandom sigset=sigaction", list, " ")
	for (i in list) {
		split(list[i], kv, "=")
		everywhere[kv[1]] = kv[2]
	}
	split("dup=F_DUPFD_CLOEXEC popen=clone3 system=clone3 getenv=secure_getenv usleep=poll sleep=poll vfork=clone3 " \
	      "exit=return_from_main abort_message=err_set", list, " ")
	for (i in list) {
		split(list[i], kv, "=")
		product[kv[1]] = kv[2]
	}
	split("printf fprintf vprintf vfprintf puts fputs putchar perror syslog", list, " ")
	for (i in list)
		printing[list[i]] = "err_set; only ring 4 prints"
	while ((getline line <allowed) > 0)
		if (line !~ /^#/ && split(line, f, /[ \t]+/) >= 3)
			ok[f[1] " " f[2]] = 1
}

{
	match($0, /^[^:]*:[0-9]+:/)
	place = substr($0, 1, RLENGTH - 1)
	code = substr($0, RLENGTH + 1)
	file = place
	sub(/:.*/, "", file)
	is_test = file ~ /^(tests|contrib)\//
	may_print = is_test || file ~ /^tools\// || file ~ /^sandbox\/(runtime|cli|daemon|http|shim|spawn|publish|oci|scope)\//
	rest = code
	while (match(rest, /[A-Za-z_][A-Za-z_0-9]*[ \t]*\(/)) {
		word = substr(rest, RSTART, RLENGTH)
		before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : ""
		rest = substr(rest, RSTART + RLENGTH)
		sub(/[ \t]*\($/, "", word)
		if (before == "." || before == ">")
			continue # a member of that name
		instead = ""
		if (word in everywhere)
			instead = everywhere[word]
		else if (!is_test && (word in product))
			instead = product[word]
		else if (!may_print && (word in printing))
			instead = printing[word]
		if (instead != "" && !((file " " word) in ok)) {
			gsub(/_/, " ", instead)
			printf "%s: %s() is banned; use %s, or give the reason in %s\n", place, word, \
				(word in everywhere || word in product) && instead !~ / / ? instead "()" : instead, allowed
			bad = 1
		}
	}
}

END { exit bad }
