#include "dataplane/http/http_date.h"

#include <string.h>

static const int64_t UNIX_S_MIN = -62167219200; /* 0000-01-01 */
static const int64_t UNIX_S_MAX = 253402300799; /* 9999-12-31T23:59:59 */
enum { DAYS_0000_TO_1970 = 719468, DAYS_400_YEARS = 146097, SECONDS_A_DAY = 86400 };

struct civil {
    unsigned year, month, day; /* month and day from 1 */
    unsigned hour, minute, second;
    unsigned weekday; /* 0: Sunday */
};

/* Proleptic Gregorian calendar, counted in years that start in March so that the leap day is
 * the last one. */
static struct civil civil_of(int64_t unix_s)
{
    if (unix_s < UNIX_S_MIN)
        unix_s = UNIX_S_MIN;
    if (unix_s > UNIX_S_MAX)
        unix_s = UNIX_S_MAX;
    int64_t days = unix_s / SECONDS_A_DAY;
    int64_t second = unix_s % SECONDS_A_DAY;
    if (second < 0) {
        second += SECONDS_A_DAY;
        days--;
    }
    unsigned from_0000 = (unsigned)(days + DAYS_0000_TO_1970 + DAYS_400_YEARS);
    unsigned era = from_0000 / DAYS_400_YEARS;
    unsigned day_of_era = from_0000 % DAYS_400_YEARS;
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    struct civil c = {
        .year = year_of_era + era * 400 - 400,
        .month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9,
        .day = day_of_year - (153 * month_from_march + 2) / 5 + 1,
        .hour = (unsigned)(second / 3600),
        .minute = (unsigned)(second / 60 % 60),
        .second = (unsigned)(second % 60),
        /* 1970-01-01 was a Thursday */
        .weekday = (unsigned)((days % 7 + 7 + 4) % 7),
    };
    if (c.month <= 2)
        c.year++;
    return c;
}

static void put_digits(char *out, unsigned number, unsigned count)
{
    for (unsigned i = count; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
}

void http_date_write(int64_t unix_s, char out[static HTTP_DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil c = civil_of(unix_s);
    static const char model[] = "Sun, 06 Nov 1994 08:49:37 GMT";

    memcpy(out, model, HTTP_DATE_SIZE);
    memcpy(out, days + 3 * (size_t)c.weekday, 3);
    put_digits(out + 5, c.day, 2);
    memcpy(out + 8, months + 3 * (size_t)(c.month - 1), 3);
    put_digits(out + 12, c.year, 4);
    put_digits(out + 17, c.hour, 2);
    put_digits(out + 20, c.minute, 2);
    put_digits(out + 23, c.second, 2);
}

void http_iso_write(int64_t unix_us, char out[static HTTP_ISO_SIZE])
{
    static const char model[] = "1994-11-06T08:49:37.123Z";
    int64_t second = unix_us / 1000000;
    int64_t rest_us = unix_us % 1000000;

    if (rest_us < 0) {
        rest_us += 1000000;
        second--;
    }
    struct civil c = civil_of(second);
    memcpy(out, model, HTTP_ISO_SIZE);
    put_digits(out, c.year, 4);
    put_digits(out + 5, c.month, 2);
    put_digits(out + 8, c.day, 2);
    put_digits(out + 11, c.hour, 2);
    put_digits(out + 14, c.minute, 2);
    put_digits(out + 17, c.second, 2);
    put_digits(out + 20, (unsigned)(rest_us / 1000), 3);
}
