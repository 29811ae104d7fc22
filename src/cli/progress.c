/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <unistd.h>

void progress_start(progress *shown, const rosace_device_info *device, size_t total) {
    *shown = (progress){.terminal = isatty(STDERR_FILENO), .total = total};
    fprintf(stderr, "device %u:%u: %s, driver %s (%s)\n", device->platform_index, device->device_index, device->name,
            device->driver_version, device_class_name(device->device_class));
}

void progress_model(progress *shown, const report_model *model) {
    progress_clear(shown);
    fprintf(stderr, "model %s: %s, %zu parameters, trained at length %lld\n", model->name, model->position,
            model->parameters, (long long)model->train_length);
}

void progress_begin(progress *shown, const report_series *series, int64_t length) {
    shown->series = series;
    shown->length = length;
    if (shown->terminal)
        fprintf(stderr, "\r\033[K  %3zu/%zu  %s, %s: length %lld", ++shown->done, shown->total, series->model,
                series->label, (long long)length);
    else
        shown->done++;
}

void progress_batch(void *user, size_t tokens, double seconds) {
    const progress *shown = user;
    if (shown->terminal)
        fprintf(stderr, "\r\033[K  %3zu/%zu  %s, %s: length %lld, %.0f tokens/s", shown->done, shown->total,
                shown->series->model, shown->series->label, (long long)shown->length, (double)tokens / seconds);
}

void progress_series(progress *shown, const report_series *series, size_t n_lengths) {
    double seconds = 0.0, tokens = 0.0;
    for (size_t i = 0; i < n_lengths; i++) {
        seconds += series->figures[i].seconds;
        tokens += (double)series->figures[i].tokens;
    }
    progress_clear(shown);
    fprintf(stderr, "  %3zu/%zu  %s, %s: %.1f s, %.0f tokens/s, %s\n", shown->done, shown->total, series->model,
            series->label, seconds, tokens / seconds, series->variant);
}

void progress_clear(progress *shown) {
    if (shown->terminal) fputs("\r\033[K", stderr);
}
