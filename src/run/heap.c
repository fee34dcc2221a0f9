/* SPDX-License-Identifier: MIT */
/*
 * heap.c - the preload library of `quire run --heap`: whose malloc() it is.
 *
 * The program's goes to the allocator that is preloaded behind us, whose arenas quire takes
 * over. libc's own, the loader's and quire's stay with libc's allocator, in memory of the
 * kernel's: libc hands such memory to the kernel without a call that we could stand in
 * front of (stdio's and readdir()'s buffers), and a thread's vector of thread-locals is read
 * by whoever handles its faults. Who asks is told by the return address.
 *
 * libc's allocator is kept to the break, hence what lies below that is libc's, and all else
 * the other's: one comparison in free().
 *
 *     malloc() --caller is libc, ld.so, libquire...--> __libc_malloc()
 *              --else--> the next malloc(): jemalloc's
 *
 * Before the constructor has run, all are libc's.
 *
 * fork() fails with ENOMEM: a child would have no heap. vfork(), posix_spawn(), system() and
 * popen() do not need one.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRAP   __attribute__((visibility("default")))
#define CALLER ((uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)))

#define PAGE 4096u

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

/* The next library's. NULL before the constructor. */
static struct {
	void *(*malloc)(size_t n);
	void *(*calloc)(size_t n, size_t size);
	void *(*realloc)(void *p, size_t n);
	void *(*memalign)(size_t align, size_t n);
	void (*free)(void *p);
	size_t (*usable)(void *p);
} next;
static size_t (*libc_usable)(void *p);
static bool ready;

/* Code whose memory stays with libc; (c) after the constructor. */
static struct range {
	uintptr_t start, end;
} own[16];
static unsigned owns;
static uintptr_t break_start;

static bool is_own_caller(uintptr_t caller)
{
	for (unsigned i = 0; i < owns; i++)
		if (caller >= own[i].start && caller < own[i].end)
			return true;
	return !ready;
}

static bool is_libc(const void *p)
{
	return !ready || ((uintptr_t)p >= break_start && (uintptr_t)p < (uintptr_t)sbrk(0));
}

/* ---- who asks ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_own_object(const char *name)
{
	static const char *const names[] = { "libc.so.",    "libc-",     "ld-linux",
					     "libquire",    "liburing.", "liburcu",
					     "libpthread.", "libnss_",   "libresolv." };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(name, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	if (!info->dlpi_name || !is_own_object(base_name(info->dlpi_name)))
		return 0;
	for (int i = 0; i < info->dlpi_phnum && owns < sizeof(own) / sizeof(own[0]); i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
			continue;
		own[owns].start = info->dlpi_addr + h->p_vaddr;
		own[owns].end = own[owns].start + h->p_memsz;
		owns++;
	}
	return 0;
}

static void __attribute__((constructor)) start(void)
{
	/* No arena but the main one, and no mapping for what is large. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	dl_iterate_phdr(note_object, NULL);
	next.malloc = dlsym(RTLD_NEXT, "malloc");
	next.calloc = dlsym(RTLD_NEXT, "calloc");
	next.realloc = dlsym(RTLD_NEXT, "realloc");
	next.memalign = dlsym(RTLD_NEXT, "memalign");
	next.free = dlsym(RTLD_NEXT, "free");
	next.usable = dlsym(RTLD_NEXT, "malloc_usable_size");
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	libc_usable = libc ? dlsym(libc, "malloc_usable_size") : NULL;
	ready = libc_usable && next.malloc && next.calloc && next.realloc && next.memalign &&
		next.free && next.usable && next.malloc != __libc_malloc;
}

/* ---- malloc and its kin ---- */

static void *allocate(uintptr_t caller, size_t align, size_t n)
{
	bool libc = is_own_caller(caller);

	if (break_start == 0)
		break_start = (uintptr_t)sbrk(0);
	if (align <= 16)
		return libc ? __libc_malloc(n) : next.malloc(n);
	return libc ? __libc_memalign(align, n) : next.memalign(align, n);
}

WRAP void *malloc(size_t n)
{
	return allocate(CALLER, 0, n);
}

WRAP void free(void *p)
{
	if (is_libc(p))
		__libc_free(p);
	else
		next.free(p);
}

WRAP void *calloc(size_t n, size_t size)
{
	if (break_start == 0)
		break_start = (uintptr_t)sbrk(0);
	return is_own_caller(CALLER) ? __libc_calloc(n, size) : next.calloc(n, size);
}

WRAP void *realloc(void *p, size_t n)
{
	if (!p)
		return allocate(CALLER, 0, n);
	return is_libc(p) ? __libc_realloc(p, n) : next.realloc(p, n);
}

WRAP void *memalign(size_t align, size_t n)
{
	return allocate(CALLER, align, n);
}

WRAP void *aligned_alloc(size_t align, size_t n)
{
	return allocate(CALLER, align, n);
}

WRAP int posix_memalign(void **out, size_t align, size_t n)
{
	int saved = errno;
	void *p;

	if (align % sizeof(void *) || align == 0 || align & (align - 1))
		return EINVAL;
	p = allocate(CALLER, align, n);
	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

WRAP void *valloc(size_t n)
{
	return allocate(CALLER, PAGE, n);
}

WRAP void *pvalloc(size_t n)
{
	if (n > SIZE_MAX - PAGE) {
		errno = ENOMEM;
		return NULL;
	}
	return allocate(CALLER, PAGE, (n + PAGE - 1) & ~(size_t)(PAGE - 1));
}

WRAP size_t malloc_usable_size(void *p)
{
	if (!p || !ready)
		return 0;
	return is_libc(p) ? libc_usable(p) : next.usable(p);
}

/* ---- fork ---- */

WRAP pid_t fork(void)
{
	errno = ENOMEM;
	return -1;
}

WRAP int daemon(int nochdir, int noclose)
{
	errno = ENOMEM;
	return -1;
}
