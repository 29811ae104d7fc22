/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

/* Devices and pipes are written as they are; a rename would replace them. */
static bool is_special(const char *path) {
    struct stat info;
    return !stat(path, &info) && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

/* "<path>.XXXXXX", to be freed, and a file of that kind open for writing. */
static FILE *open_beside(const char *path, char **name) {
    struct stat info;
    const mode_t mask = umask(0);
    umask(mask);
    *name = cli_calloc(strlen(path) + 8, 1);
    if (!*name) return NULL;
    if (!stat(path, &info) && S_ISDIR(info.st_mode)) {
        cli_fail("%s: is a folder", path);
        return NULL;
    }
    sprintf(*name, "%s.XXXXXX", path);
    const int fd = mkstemp(*name);
    if (fd < 0) {
        cli_fail("%s: cannot be written: %s", path, strerror(errno));
        return NULL;
    }
    FILE *file = fchmod(fd, 0666 & ~mask) ? NULL : fdopen(fd, "w");
    if (!file) {
        cli_fail("%s: cannot be written: %s", path, strerror(errno));
        close(fd);
        unlink(*name);
    }
    return file;
}

bool output_check(const char *option, const char *path) {
    char *name = NULL;
    if (!*path) return cli_fail("%s: the file name is empty", option);
    if (is_special(path)) return true;
    FILE *file = open_beside(path, &name);
    if (file) {
        fclose(file);
        unlink(name);
    }
    free(name);
    return file != NULL;
}

bool output_save(const char *path, output_writer writer, const void *user) {
    char *name = NULL;
    const bool special = is_special(path);
    FILE *file = special ? fopen(path, "w") : open_beside(path, &name);
    if (!file) {
        if (special) cli_fail("%s: cannot be written: %s", path, strerror(errno));
        free(name);
        return false;
    }
    bool ok = writer(user, file);
    const bool broken = ferror(file) != 0;
    if (fclose(file) || broken) ok = cli_fail("%s: cannot be written: %s", path, strerror(errno));
    if (ok && name && rename(name, path)) ok = cli_fail("%s: cannot be written: %s", path, strerror(errno));
    if (!ok && name) unlink(name);
    free(name);
    return ok;
}
