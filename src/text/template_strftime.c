/* template_strftime.c - dates for strftime_now, without the C library's clock and locale.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The calendar is computed from seconds since 1970 in UTC, so a rendering depends on nothing but
 * its input. Names are English, as in the C locale.
 */
#include <stdio.h>

#include "text/template_impl.h"

typedef struct date {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second;
    int weekday; /* 0: Sunday */
    int yearday; /* from 0 */
    int64_t now;
} date;

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static bool is_leap(int64_t year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

/* Days to a date by eras of 400 years that begin on a 1st of March, so that the leap day comes
 * last: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static date date_of(int64_t now) {
    date d = {.now = now};
    int64_t days = floor_div(now, 86400), rest = now - days * 86400;
    d.hour = (int)(rest / 3600);
    d.minute = (int)(rest / 60 % 60);
    d.second = (int)(rest % 60);
    d.weekday = (int)(((days + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
    int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    d.day = (int)(doy - (153 * mp + 2) / 5 + 1);
    d.month = (int)(mp < 10 ? mp + 3 : mp - 9);
    d.year = yoe + era * 400 + (d.month <= 2);
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    d.yearday = before[d.month - 1] + d.day - 1 + (d.month > 2 && is_leap(d.year));
    return d;
}

static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

/* The week of ISO 8601: weeks begin on Monday, the first one has the year's first Thursday. */
static int iso_week(const date *d, int64_t *year) {
    int monday_based = (d->weekday + 6) % 7;
    int week = (d->yearday - monday_based + 10) / 7;
    *year = d->year;
    if (week == 0) {
        --*year;
        int yearday = d->yearday + (is_leap(*year) ? 366 : 365);
        week = (yearday - monday_based + 10) / 7;
    } else if (week == 53 && d->yearday - monday_based + 3 >= (is_leap(d->year) ? 366 : 365)) {
        ++*year;
        week = 1;
    }
    return week;
}

/* A number with its width and what fills it, unless a flag of the GNU library says otherwise:
 * %-d, %_d, %0e. */
static spn_status put_number(tm_context *c, spn_buf *buf, int64_t value, int width, char fill,
                             char flag) {
    char text[32];
    if (flag == '_') fill = ' ';
    if (flag == '0') fill = '0';
    if (flag == '-') width = 1;
    if (fill == '0')
        snprintf(text, sizeof text, "%0*lld", width, (long long)value);
    else
        snprintf(text, sizeof text, "%*lld", width, (long long)value);
    return spn_tm_put_text(c, buf, text);
}

static spn_status put_name(tm_context *c, spn_buf *buf, const char *name, size_t n, char flag) {
    tm_string text = {.data = name, .len = spn_min_size(strlen(name), n)};
    if (flag == '^' || flag == '#') return spn_tm_put_cased(c, buf, &text, TM_UPPER);
    return spn_tm_put(c, buf, text.data, text.len);
}

static spn_status put_date(tm_context *c, spn_buf *buf, const date *d, const char *format,
                           size_t len);

/* Letters that stand for other formats. */
static const char *expansion(char letter) {
    switch (letter) {
    case 'c':
        return "%a %b %e %H:%M:%S %Y";
    case 'D':
    case 'x':
        return "%m/%d/%y";
    case 'F':
        return "%Y-%m-%d";
    case 'r':
        return "%I:%M:%S %p";
    case 'R':
        return "%H:%M";
    case 'T':
    case 'X':
        return "%H:%M:%S";
    default:
        return NULL;
    }
}

static spn_status put_numeric(tm_context *c, spn_buf *buf, const date *d, char letter, char flag,
                              bool *known) {
    int64_t iso_year;
    int hour12 = d->hour % 12 == 0 ? 12 : d->hour % 12, week = iso_week(d, &iso_year);
    switch (letter) {
    case 'd':
        return put_number(c, buf, d->day, 2, '0', flag);
    case 'e':
        return put_number(c, buf, d->day, 2, ' ', flag);
    case 'm':
        return put_number(c, buf, d->month, 2, '0', flag);
    case 'Y':
        return put_number(c, buf, d->year, 1, '0', flag);
    case 'y':
        return put_number(c, buf, (d->year % 100 + 100) % 100, 2, '0', flag);
    case 'C':
        return put_number(c, buf, floor_div(d->year, 100), 2, '0', flag);
    case 'G':
        return put_number(c, buf, iso_year, 1, '0', flag);
    case 'g':
        return put_number(c, buf, (iso_year % 100 + 100) % 100, 2, '0', flag);
    case 'V':
        return put_number(c, buf, week, 2, '0', flag);
    case 'U':
        return put_number(c, buf, (d->yearday + 7 - d->weekday) / 7, 2, '0', flag);
    case 'W':
        return put_number(c, buf, (d->yearday + 7 - (d->weekday + 6) % 7) / 7, 2, '0', flag);
    case 'H':
        return put_number(c, buf, d->hour, 2, '0', flag);
    case 'k':
        return put_number(c, buf, d->hour, 2, ' ', flag);
    case 'I':
        return put_number(c, buf, hour12, 2, '0', flag);
    case 'l':
        return put_number(c, buf, hour12, 2, ' ', flag);
    case 'M':
        return put_number(c, buf, d->minute, 2, '0', flag);
    case 'S':
        return put_number(c, buf, d->second, 2, '0', flag);
    case 'f':
        return put_number(c, buf, 0, 6, '0', flag); /* microseconds, of which we have none */
    case 'j':
        return put_number(c, buf, d->yearday + 1, 3, '0', flag);
    case 'u':
        return put_number(c, buf, d->weekday == 0 ? 7 : d->weekday, 1, '0', flag);
    case 'w':
        return put_number(c, buf, d->weekday, 1, '0', flag);
    case 's':
        return put_number(c, buf, d->now, 1, '0', flag);
    default:
        *known = false;
        return SPN_STATUS_OK;
    }
}

static spn_status put_letter(tm_context *c, spn_buf *buf, const date *d, char letter, char flag,
                             bool *known) {
    const char *format = expansion(letter);
    *known = true;
    if (format != NULL) return put_date(c, buf, d, format, strlen(format));
    switch (letter) {
    case 'A':
        return put_name(c, buf, weekdays[d->weekday], SIZE_MAX, flag);
    case 'a':
        return put_name(c, buf, weekdays[d->weekday], 3, flag);
    case 'B':
        return put_name(c, buf, months[d->month - 1], SIZE_MAX, flag);
    case 'b':
    case 'h':
        return put_name(c, buf, months[d->month - 1], 3, flag);
    case 'p': /* "opposite case" is lower case here */
        if (flag != '#') return put_name(c, buf, d->hour < 12 ? "AM" : "PM", 2, flag);
        return put_name(c, buf, d->hour < 12 ? "am" : "pm", 2, '\0');
    case 'P':
        return put_name(c, buf, d->hour < 12 ? "am" : "pm", 2, flag);
    case 'n':
        return spn_tm_put(c, buf, "\n", 1);
    case 't':
        return spn_tm_put(c, buf, "\t", 1);
    case '%':
        return spn_tm_put(c, buf, "%", 1);
    case 'z':
    case 'Z':
        return SPN_STATUS_OK; /* Python's now() knows no time zone */
    default:
        return put_numeric(c, buf, d, letter, flag, known);
    }
}

static spn_status put_date(tm_context *c, spn_buf *buf, const date *d, const char *format,
                           size_t len) {
    for (size_t at = 0; at < len;) {
        size_t start = at;
        if (format[at++] != '%' || at == len) {
            SPN_TRY(spn_tm_put(c, buf, format + start, 1));
            continue;
        }
        char flag = strchr("-_0^#", format[at]) && format[at] ? format[at++] : '\0';
        bool known = false;
        if (at < len) SPN_TRY(put_letter(c, buf, d, format[at++], flag, &known));
        if (!known) SPN_TRY(spn_tm_put(c, buf, format + start, at - start));
    }
    return SPN_STATUS_OK;
}

/* The years that Python's datetime has. */
#define FIRST_SECOND (-INT64_C(62135596800))
#define LAST_SECOND INT64_C(253402300799)

spn_status spn_tm_strftime(tm_context *c, const tm_string *format, tm_value *out) {
    if (c->now < FIRST_SECOND || c->now > LAST_SECOND)
        return SPN_TM_FAIL(c, "the time given for strftime_now is not in the years 1 to 9999");
    date d = date_of(c->now);
    spn_buf buf = SPN_BUF(0);
    return spn_tm_finish(c, &buf, put_date(c, &buf, &d, format->data, format->len), out);
}
