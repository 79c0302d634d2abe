# tidy.awk: the rules of ARCHITECTURE.md that can be read off the text of C files. See ops/tidy.
#
# It leans on .clang-format: a function's braces stand alone at column 0, a struct's do not.

BEGIN {
    # Which layer may include which. An edge may include its core, a core never its edge.
    may["common"] = " common "
    may["io"] = " io common "
    may["wire"] = " wire file common "
    may["file"] = " file common "
    may["score"] = " score common "
    may["store"] = " store score io file common "
    may["coordinator"] = " coordinator wire file common "
    may["coordinator_edge"] = " coordinator_edge coordinator io wire file common "
    may["worker"] = " worker score wire file common "
    may["worker_edge"] = " worker_edge worker store score io wire file common "
    may["cli"] = " cli store score io wire file common "

    prefix["common"] = "cm_"
    prefix["io"] = "io_"
    prefix["wire"] = prefix["file"] = "pr_"
    prefix["score"] = "sc_"
    prefix["store"] = "st_"
    prefix["coordinator"] = prefix["coordinator_edge"] = "co_"
    prefix["worker"] = prefix["worker_edge"] = "wk_"
    prefix["cli"] = "cli_"

    # Each library has one home; tests may use all.
    door("uv zmq zmq_utils", " io ")
    door("msgpack csv", " wire file ")
    door("jansson", " wire file cli ")
    door("cblas openblas_config lapacke cpuid immintrin x86intrin xmmintrin emmintrin", " score ")
    door("isa-l xxhash", " checksum ")
    door("criterion", " ")

    split("assert complex ctype errno float inttypes limits locale math stdalign stdarg stdatomic " \
          "stdbool stddef stdint stdio stdlib stdnoreturn string", names, " ")
    for (i in names)
        pure[names[i] ".h"] = libc[names[i] ".h"] = 1
    split("byteswap dirent dlfcn endian execinfo fcntl fenv fnmatch getopt glob grp libgen malloc " \
          "netdb poll pthread pwd regex sched semaphore setjmp signal spawn strings syslog termios " \
          "threads time unistd wchar wctype", names, " ")
    for (i in names)
        libc[names[i] ".h"] = 1

    for (i = 1; i < ARGC; i++)
        exists[ARGV[i]] = 1
}

function door(libraries, layers,    names, i) {
    split(libraries, names, " ")
    for (i in names)
        home[names[i]] = layers
}

function report(line, rule, text) {
    printf "%s:%d: %s: %s\n", file, line, rule, text
}

function layer_of(path) {
    if (path ~ /^common\/io\//) return "io"
    if (path ~ /^common\//) return "common"
    if (path ~ /^proto\/wire\//) return "wire"
    if (path ~ /^proto\//) return "file"
    if (path ~ /^worker\/score\//) return "score"
    if (path ~ /^worker\/store\//) return "store"
    if (path ~ /^(worker|coordinator)\/(main\.c|.*_uv\.[ch])$/)
        return substr(path, 1, index(path, "/") - 1) "_edge"
    if (path ~ /^worker\//) return "worker"
    if (path ~ /^coordinator\//) return "coordinator"
    if (path ~ /^ops\/cli\//) return "cli"
    return "tests"
}

# --- one file ------------------------------------------------------------------------------------

function begin_file() {
    file = FILENAME
    base = file
    sub(/.*\//, "", base)
    is_header = file ~ /\.h$/
    layer = layer_of(file)
    own_header = file
    sub(/\.c$/, ".h", own_header)
    in_comment = in_macro = depth = documented = directives = includes = 0
    guard = head = last = ""
}

function end_file() {
    if (file == "")
        return
    if (lines > 700)
        report(lines, "file-length", lines " lines, 700 at most")
    if (is_header && (guard == "" || last !~ /^#endif/))
        report(1, "guard", "no #ifndef/#define/#endif around the whole header")
}

# The line without comments and without the insides of strings.
function code_of(line,    out, token, at) {
    out = ""
    while (line != "") {
        if (in_comment) {
            at = index(line, "*/")
            if (!at)
                return out
            in_comment = 0
            line = substr(line, at + 2)
        } else if (match(line, /\/\*|\/\/|"|'/)) {
            token = substr(line, RSTART, RLENGTH)
            out = out substr(line, 1, RSTART - 1)
            line = substr(line, RSTART + RLENGTH)
            if (token == "//")
                return out
            if (token == "/*")
                in_comment = 1
            else {
                out = out token token
                if (!match(line, token == "'" ? "^([^'\\\\]|\\\\.)*'" : "^([^\"\\\\]|\\\\.)*\""))
                    return out
                line = substr(line, RLENGTH + 1)
            }
        } else
            return out line
    }
    return out
}

function count(text, what,    copy) {
    copy = text
    return gsub(what, "", copy)
}

# --- rules of a line -----------------------------------------------------------------------------

function check_line(raw,    copy) {
    if (length(raw) > 100) {
        copy = raw
        gsub(/[\200-\277]/, "", copy) # the later bytes of a UTF-8 character
        if (length(copy) > 100)
            report(FNR, "line-length", length(copy) " columns, 100 at most")
    }
    if (raw ~ /(^|[^A-Za-z0-9_])(TODO|FIXME|XXX|HACK)([^A-Za-z0-9_]|$)/ || raw ~ /^#[ \t]*if[ \t]+0/)
        report(FNR, "leftover", "say it in an issue, or do it: " raw)
    if (FNR == 1 && index(raw, "/* " base ": ") != 1 && (is_header || layer != "tests"))
        report(1, "first-line", "begins with `/* " base ": ` and a sentence on what it is")
}

function check_calls(code) {
    if (match(code, /(^|[^A-Za-z0-9_.>])(strcpy|strcat|v?sprintf|ato[ifl]|atoll|s?rand|strtok|gets|alloca)\(/))
        report(FNR, "banned-call", substr(code, RSTART, RLENGTH) "...)")
    if ((layer == "coordinator" || layer == "worker") &&
        match(code, /(^|[^A-Za-z0-9_.>])(u?sleep|nanosleep|thrd_sleep)\(/))
        report(FNR, "banned-call", "a core never waits: " substr(code, RSTART, RLENGTH) "...)")
}

function check_include(raw,    name, target, library) {
    if (!match(raw, /[<"][^>"]+[>"]/))
        return
    name = substr(raw, RSTART + 1, RLENGTH - 2)
    includes++
    if (includes == 1 && own_header != file && (own_header in exists) && name != own_header)
        report(FNR, "own-header", "the first include is \"" own_header "\"")
    if (layer == "tests")
        return
    library = name
    sub(/[.\/].*/, "", library)
    if (library in home) {
        if (!index(home[library], " " layer " ") &&
            !(home[library] == " checksum " && file == "common/checksum.c"))
            report(FNR, "door", name " belongs to" home[library] "alone")
    } else if (raw ~ /</) {
        if (!(name in libc) && name !~ /^(sys|net|netinet|arpa|linux)\//)
            report(FNR, "door", name " is no libc header, and ops/tidy.awk gives it no home")
        else if ((layer == "coordinator" || layer == "worker") && !(name in pure))
            report(FNR, "core-pure", "a core holds no clock, thread or file: " name)
    } else if (!index(name, "/"))
        report(FNR, "layer", "include \"" name "\" by its path from the top of the tree")
    else {
        target = layer_of(name)
        if (!index(may[layer], " " target " "))
            report(FNR, "layer", layer " may not include " target ": " name)
    }
}

# Directives come before code; a macro's further lines are no code either.
function check_directive(raw) {
    directives++
    if (directives == 1 && raw ~ /^#ifndef /)
        guard = substr(raw, 9)
    if (directives == 2 && raw != "#define " guard)
        guard = ""
    if (raw ~ /^#[ \t]*include/)
        check_include(raw)
    in_macro = raw ~ /\\$/
    documented = 0
    head = ""
}

# --- declarations and functions ------------------------------------------------------------------

# The name that a function's first lines declare.
function name_of(text) {
    gsub(/__attribute__\(\([^;{]*\)\)/, "", text)
    sub(/[ \t]*\(.*/, "", text)
    sub(/.*[^A-Za-z0-9_]/, "", text)
    return text
}

function is_function(text) {
    gsub(/__attribute__\(\([^;{]*\)\)/, "", text)
    sub(/[{;=].*/, "", text)
    return text ~ /\(/ && text !~ /^typedef/ && text !~ /^_?[Ss]tatic_assert/
}

function check_prefix(line, text,    name) {
    name = name_of(text)
    if ((layer in prefix) && name != "main" && index(name, prefix[layer]) != 1)
        report(line, "prefix", name " does not begin with " prefix[layer])
}

# A whole declaration at file level: `head` is its code, `commented` whether a comment stands in it.
function end_declaration(    body) {
    body = head ~ /\{/
    if (is_header) {
        if (is_function(head))
            check_prefix(head_line, head)
        if (!head_documented && !(commented && !(body && is_function(head))) &&
            head !~ /^(struct|union|enum) [a-z0-9_]+;/ && head !~ /^enum \{[^,]*\};$/ &&
            head !~ /^_?[Ss]tatic_assert/ && head !~ /^extern ""/ && head !~ /^}/)
            report(head_line, "comment", "no comment above: " first_of(head))
    } else if (body && is_function(head) && head !~ /(^| )static / && layer != "tests")
        check_prefix(head_line, head)
    if (body && is_function(head) && FNR - head_line + 1 > 70)
        report(head_line, "function-length", FNR - head_line + 1 " lines, 70 at most")
    head = ""
}

function first_of(text) {
    sub(/[ \t]*[{;].*/, "", text)
    return text
}

function read_code(code, raw) {
    if (depth == 0 && head == "" && code ~ /[^ \t]/) {
        head_line = FNR
        head_documented = documented
        commented = 0
    }
    if (code ~ /[^ \t]/ || head != "")
        commented = commented || raw ~ /\/\*|\/\//
    if (depth == 0 && code ~ /[^ \t]/)
        head = head (head == "" ? "" : " ") code
    depth += count(code, "{") - count(code, "}")
    if (raw ~ /^extern "C" \{/ || depth < 0)
        depth = 0 # a linkage block is no scope of its own
    if (depth == 0 && head != "" && code ~ /[;}][ \t]*$/)
        end_declaration()
}

FNR == 1 {
    end_file()
    begin_file()
}

{
    lines = FNR
    if ($0 != "")
        last = $0
    was_comment = in_comment
    check_line($0)
    code = code_of($0)
    if (in_macro) {
        in_macro = $0 ~ /\\$/
        check_calls(code)
    } else if (!was_comment && $0 ~ /^[ \t]*#/) {
        check_directive($0)
        check_calls(code)
    } else {
        check_calls(code)
        read_code(code, $0)
        if ($0 ~ /^[ \t]*$/)
            documented = 0
        else if (code !~ /[^ \t]/)
            documented = 1
    }
}

END {
    end_file()
}
