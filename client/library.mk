# libgamestate: included by the Makefile, after PGXS has said where things are.
#
# Nothing here sees a header of the server.  The shared library exports what
# client/lib/libgamestate.map lists, and nothing else.

# Changes when a program that was compiled before would not work any more.
LIBGAMESTATE_SO_MAJOR = 0

LIB_SRCS = $(sort $(wildcard client/lib/*.c))
LIB_OBJS = $(LIB_SRCS:client/lib/%.c=build/client/lib/%.o)
LIB_HEADERS = $(sort $(wildcard client/include/*.h))
LIB_PRIVATE_HEADERS = $(wildcard client/lib/*.h)
LIB_CFLAGS = -Iclient/include -I$(includedir) -DGAMESTATE_VERSION='"$(EXTENSION_VERSION)"' -pthread
LIB_SONAME = libgamestate.so.$(LIBGAMESTATE_SO_MAJOR)
LIB_REAL_NAME = $(LIB_SONAME).$(EXTENSION_VERSION)
LIB_SHARED = build/client/$(LIB_REAL_NAME)
LIB_STATIC = build/client/libgamestate.a
LIB_MAP = client/lib/libgamestate.map
# For programs of ours that use the library: without a path to look for it.
LIB_USE = -Iclient/include $(LIB_STATIC) $(libpq) -lpthread

# Where it is installed: below prefix (or CLIENT_PREFIX, which means nothing to
# PGXS), if one was given to make, else where PostgreSQL's own client library is.
CLIENT_PREFIX ?= $(if $(filter command,$(firstword $(origin prefix))),$(prefix))
ifneq (,$(CLIENT_PREFIX))
lib_libdir = $(CLIENT_PREFIX)/lib
lib_includedir = $(CLIENT_PREFIX)/include
lib_mandir = $(CLIENT_PREFIX)/share/man
# It may be moved as a whole.
pc_paths = 's|@prefix@|$${pcfiledir}/../..|; s|@libdir@|$${prefix}/lib|; s|@includedir@|$${prefix}/include|'
else
lib_libdir := $(shell $(PG_CONFIG) --libdir)
lib_includedir := $(shell $(PG_CONFIG) --includedir)
lib_mandir := $(shell $(PG_CONFIG) --mandir)
pc_paths = 's|@prefix@|$(patsubst %/include,%,$(patsubst %/postgresql,%,$(lib_includedir)))|; s|@libdir@|$(lib_libdir)|; s|@includedir@|$(lib_includedir)|'
endif

.PHONY: library install-client uninstall-client
library: $(LIB_SHARED) $(LIB_STATIC)

build/client/lib/%.o: client/lib/%.c $(LIB_HEADERS) $(LIB_PRIVATE_HEADERS) gamestate.control client/library.mk build/flags
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) $(CFLAGS) -fvisibility=default -fPIC -c $< -o $@

$(LIB_SHARED): $(LIB_OBJS) $(LIB_MAP)
	$(CC) -shared $(LIB_OBJS) $(LDFLAGS) -Wl,-soname,$(LIB_SONAME) -Wl,--version-script,$(LIB_MAP) \
		-Wl,--no-undefined -Wl,-z,nodelete $(libpq) -lpthread -o $@
	ln -sf $(LIB_REAL_NAME) build/client/$(LIB_SONAME)
	ln -sf $(LIB_SONAME) build/client/libgamestate.so

$(LIB_STATIC): $(LIB_OBJS)
	rm -f $@
	$(AR) rcs $@ $^

install-client: library
	mkdir -p '$(DESTDIR)$(lib_libdir)/pkgconfig' '$(DESTDIR)$(lib_includedir)' '$(DESTDIR)$(lib_mandir)/man3'
	$(INSTALL_SHLIB) $(LIB_SHARED) '$(DESTDIR)$(lib_libdir)/$(LIB_REAL_NAME)'
	ln -sf $(LIB_REAL_NAME) '$(DESTDIR)$(lib_libdir)/$(LIB_SONAME)'
	ln -sf $(LIB_SONAME) '$(DESTDIR)$(lib_libdir)/libgamestate.so'
	$(INSTALL_STLIB) $(LIB_STATIC) '$(DESTDIR)$(lib_libdir)/'
	$(INSTALL_DATA) $(LIB_HEADERS) '$(DESTDIR)$(lib_includedir)/'
	$(INSTALL_DATA) client/man/libgamestate.3 '$(DESTDIR)$(lib_mandir)/man3/'
	sed -e $(pc_paths) -e 's|@version@|$(EXTENSION_VERSION)|' client/lib/gamestate.pc.in \
		> '$(DESTDIR)$(lib_libdir)/pkgconfig/gamestate.pc'

uninstall-client:
	rm -f '$(DESTDIR)$(lib_libdir)'/libgamestate.so* '$(DESTDIR)$(lib_libdir)/libgamestate.a' \
		$(LIB_HEADERS:client/include/%='$(DESTDIR)$(lib_includedir)/%') \
		'$(DESTDIR)$(lib_mandir)/man3/libgamestate.3' '$(DESTDIR)$(lib_libdir)/pkgconfig/gamestate.pc'

# Programs of the tests and the benchmark, on the library as it is built here.
.PHONY: client-programs
client-programs: build/client/lib_test build/client/pool_player build/client/pool_check build/client/pool_follower build/client/pool_soak build/client/pool_recorder
build/client/lib_test: $(sort $(wildcard client/test/*.c)) $(wildcard client/test/*.h) $(LIB_STATIC) build/flags
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -Itests/unit $(CFLAGS) $(filter %.c,$^) $(LDFLAGS) $(LIB_USE) -o $@

build/client/pool_bench build/client/pool_player build/client/pool_check build/client/pool_follower build/client/pool_soak build/client/pool_recorder: build/client/pool_%: client/test_pool/%.c $(LIB_STATIC) build/flags
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) -Iclient/lib -Itests/unit $(CFLAGS) $< $(LDFLAGS) $(LIB_USE) -o $@

# The same under sanitizers, for make sanitize.
.PHONY: sanitize-client
sanitize-client: build/sanitize/lib_test_asan build/sanitize/lib_test_tsan build/client/lib_test \
	build/sanitize/pool_check_asan build/sanitize/pool_check_tsan build/client/pool_check
build/sanitize/lib_test_asan: LIB_SANITIZE = -fsanitize=address,undefined
build/sanitize/lib_test_tsan: LIB_SANITIZE = -fsanitize=thread
build/sanitize/lib_test_asan build/sanitize/lib_test_tsan: $(LIB_SRCS) $(sort $(wildcard client/test/*.c)) \
		$(LIB_HEADERS) $(LIB_PRIVATE_HEADERS) $(wildcard client/test/*.h) build/flags
	@mkdir -p $(@D)
	clang -std=gnu11 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all $(LIB_SANITIZE) $(LIB_CFLAGS) -Itests/unit \
		$(filter %.c,$^) $(libpq) -lpthread -o $@

build/bench/client_bench: client/bench/client_bench.c $(LIB_STATIC) build/flags
	@mkdir -p $(@D)
	$(CC) $(LIB_CFLAGS) $(CFLAGS) $(filter %.c,$^) $(LDFLAGS) $(LIB_USE) -o $@

build/sanitize/pool_check_asan: LIB_SANITIZE = -fsanitize=address,undefined
build/sanitize/pool_check_tsan: LIB_SANITIZE = -fsanitize=thread
build/sanitize/pool_check_asan build/sanitize/pool_check_tsan: $(LIB_SRCS) client/test_pool/check.c \
		$(LIB_HEADERS) $(LIB_PRIVATE_HEADERS) build/flags
	@mkdir -p $(@D)
	clang -std=gnu11 -g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all $(LIB_SANITIZE) $(LIB_CFLAGS) -Itests/unit \
		$(filter %.c,$^) $(libpq) -lpthread -o $@
