/* SPDX-License-Identifier: MIT */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef _WIN32
#include <direct.h>
#include <windows.h>
/* Folders below the user's profile are private by inheritance, so there is no mode to look at. */
static int make_folder(const char *path) { return _mkdir(path); }
static bool is_private(const struct stat *info) { return info != NULL; }
static bool rename_over(const char *from, const char *to) { return MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING) != 0; }
static void mark_used(int file) { (void)file; }
enum { OPEN_FLAGS = O_BINARY };
#else
static int make_folder(const char *path) { return mkdir(path, 0700); }
static bool is_private(const struct stat *info) { return info->st_uid == geteuid() && !(info->st_mode & S_IWOTH); }
static bool rename_over(const char *from, const char *to) { return rename(from, to) == 0; }
/* What cannot be marked (a read-only folder) is not trimmed either. */
static void mark_used(int file) {
    if (futimens(file, NULL) != 0) return;
}
/* No links, which another user could have laid; no waiting for a writer, should it be a pipe. */
enum { OPEN_FLAGS = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };
#endif

bool rsc_user_cache_folder(char *out, size_t out_bytes) {
#if defined(_WIN32)
    const char *base = getenv("LOCALAPPDATA");
    const char *below = "\\";
#elif defined(__APPLE__)
    const char *base = getenv("HOME");
    const char *below = "/Library/Caches/";
#else
    const char *base = getenv("XDG_CACHE_HOME");
    const char *below = "/";
    if (!base || base[0] != '/') { /* a relative one is to be ignored, says the XDG Base Directory Specification */
        base = getenv("HOME");
        below = "/.cache/";
    }
#endif
    if (!base || !*base) return false;
    int length = snprintf(out, out_bytes, "%s%s", base, below);
    return length > 0 && (size_t)length < out_bytes;
}

static bool is_separator(char c) {
#ifdef _WIN32
    return c == '/' || c == '\\';
#else
    return c == '/';
#endif
}

bool rsc_private_folder(const char *path, const char **reason) {
    char part[RSC_PATH_BYTES];
    const size_t length = strlen(path);
    if (length >= sizeof part) {
        *reason = "the path is too long";
        return false;
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] && !is_separator(part[i])) continue;
        const char separator = part[i];
        part[i] = '\0';
        const bool failed = make_folder(part) != 0 && errno != EEXIST;
        part[i] = separator;
        if (failed && !separator) {
            *reason = strerror(errno);
            return false;
        }
    }
    struct stat info;
    if (stat(path, &info) != 0) {
        *reason = strerror(errno);
    } else if (!S_ISDIR(info.st_mode)) {
        *reason = "it is not a folder";
    } else if (!is_private(&info)) {
        *reason = "it belongs to another user, or everybody may write it";
    } else {
        return true;
    }
    return false;
}

static bool read_all(int file, char *out, size_t bytes) {
    while (bytes > 0) {
        const size_t most = (size_t)1 << 30;
        ssize_t got = read(file, out, bytes < most ? bytes : most);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        out += got;
        bytes -= (size_t)got;
    }
    return true;
}

void *rsc_read_private_file(const char *path, size_t most_bytes, void *(*alloc)(void *user, size_t bytes), void *user,
                            size_t *bytes, const char **reason) {
    char *data = NULL;
    *reason = NULL;
    int file = open(path, O_RDONLY | OPEN_FLAGS);
    if (file < 0) {
        if (errno != ENOENT) *reason = strerror(errno);
        return NULL;
    }
    struct stat info;
    if (fstat(file, &info) != 0)
        *reason = strerror(errno);
    else if (!S_ISREG(info.st_mode))
        *reason = "it is not a plain file";
    else if (!is_private(&info))
        *reason = "it belongs to another user, or everybody may write it";
    else if (info.st_size <= 0 || (uint64_t)info.st_size > most_bytes)
        *reason = "its size is out of range";
    else if (!(data = alloc(user, (size_t)info.st_size)))
        *reason = "no host memory to read it";
    else if (!read_all(file, data, (size_t)info.st_size))
        *reason = "it cannot be read";
    if (!*reason) {
        *bytes = (size_t)info.st_size;
        mark_used(file);
    }
    close(file);
    return data;
}

static bool write_all(int file, const char *data, size_t bytes) {
    while (bytes > 0) {
        const size_t most = (size_t)1 << 30;
        ssize_t put = write(file, data, bytes < most ? bytes : most);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        data += put;
        bytes -= (size_t)put;
    }
    return true;
}

bool rsc_replace_file(const char *path, const char *temporary, const void *head, size_t head_bytes, const void *body,
                      size_t body_bytes, const char **reason) {
    const int flags = O_WRONLY | O_CREAT | O_EXCL | OPEN_FLAGS;
    int file = open(temporary, flags, 0600);
    if (file < 0 && errno == EEXIST && unlink(temporary) == 0) /* left by a process that was killed */
        file = open(temporary, flags, 0600);
    if (file < 0) {
        *reason = strerror(errno);
        return false;
    }
    bool good = write_all(file, head, head_bytes) && write_all(file, body, body_bytes);
    if (!good) *reason = strerror(errno);
    if (close(file) != 0 && good) {
        good = false;
        *reason = strerror(errno);
    }
    if (good && !rename_over(temporary, path)) {
        good = false;
        *reason = strerror(errno);
    }
    if (!good) unlink(temporary);
    return good;
}

/* ---- Trimming -------------------------------------------------------------------------------------------------- */

typedef struct folder_entry {
    char name[96];
    uint64_t bytes;
    time_t used;
} folder_entry;

static int by_use(const void *a, const void *b) {
    const time_t x = ((const folder_entry *)a)->used, y = ((const folder_entry *)b)->used;
    return (x > y) - (x < y);
}

static bool ends_with(const char *name, const char *ending) {
    const size_t length = strlen(name), ending_length = strlen(ending);
    return length > ending_length && strcmp(name + length - ending_length, ending) == 0;
}

static bool path_in(const char *folder, const char *name, char *out, size_t out_bytes) {
    int length = snprintf(out, out_bytes, "%s/%s", folder, name);
    return length > 0 && (size_t)length < out_bytes;
}

/* The folder's entries with this ending, the caller's to free; deletes old temporary files on the way. */
static folder_entry *list_folder(const char *folder, const char *ending, const char *temporary_ending, size_t *count) {
    folder_entry *entries = NULL;
    size_t capacity = 0;
    *count = 0;
    DIR *directory = opendir(folder);
    if (!directory) return NULL;
    const time_t now = time(NULL);
    for (struct dirent *item; (item = readdir(directory)) != NULL;) {
        const bool temporary = ends_with(item->d_name, temporary_ending);
        char path[RSC_PATH_BYTES];
        struct stat info;
        if ((!temporary && !ends_with(item->d_name, ending)) || strlen(item->d_name) >= sizeof entries->name ||
            !path_in(folder, item->d_name, path, sizeof path) || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        if (temporary) {
            if (now - info.st_mtime > 3600) unlink(path);
            continue;
        }
        if (*count == capacity) {
            capacity = 2 * capacity + 64;
            folder_entry *grown = realloc(entries, capacity * sizeof *entries);
            if (!grown) break;
            entries = grown;
        }
        folder_entry *entry = &entries[(*count)++];
        memcpy(entry->name, item->d_name, strlen(item->d_name) + 1);
        entry->bytes = (uint64_t)info.st_size;
        entry->used = info.st_mtime;
    }
    closedir(directory);
    return entries;
}

size_t rsc_trim_folder(const char *folder, const char *ending, const char *temporary_ending, uint64_t most_bytes) {
    size_t count, gone = 0;
    folder_entry *entries = list_folder(folder, ending, temporary_ending, &count);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) total += entries[i].bytes;
    if (total > most_bytes) {
        qsort(entries, count, sizeof *entries, by_use);
        for (size_t i = 0; i < count && total > most_bytes; i++) {
            char path[RSC_PATH_BYTES];
            if (!path_in(folder, entries[i].name, path, sizeof path) || unlink(path) != 0) continue;
            total -= entries[i].bytes;
            gone++;
        }
    }
    free(entries);
    return gone;
}
