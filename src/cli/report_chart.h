/* SPDX-License-Identifier: MIT
 * The curves of a report as inline SVG: length on a log2 axis, loss on a logarithmic one, so that a level line near 2
 * bits and one that climbs past 7 can both be read. A colour is a position system, a dash and a marker are a model. */
#ifndef ROSACE_CLI_REPORT_CHART_H
#define ROSACE_CLI_REPORT_CHART_H

#include "report.h"

/* The page's text escaping. */
void html_text(FILE *file, const char *text);

/* CSS classes .cN with the colour --c of every system in use, light and dark. */
void chart_colours(const eval_report *report, FILE *file);
/* A short piece of a series' line. */
void chart_swatch(const report_series *series, FILE *file);
/* The chart: an <svg class="plot"> with one <g class="series" data-series="NAME"> each. */
bool chart_write(const eval_report *report, FILE *file);

#endif
