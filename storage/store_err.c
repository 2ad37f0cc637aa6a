#include <errno.h>

#include "storage/store_internal.h"

const char *store_strerror(enum store_err err)
{
#define STORE_TEXT(name, text) \
    case name:                 \
        return text;
    switch (err) {
        STORE_ERRORS(STORE_TEXT)
    }
#undef STORE_TEXT
    return "unknown error";
}

/* What LMDB calls internal errors are trees whose pages make no sense. MDB_PANIC follows a failed
 * write of LMDB's own meta page: that is I/O, not damage. Too many dirty pages would be an error of
 * our own bound. */
enum store_err store_err_of_mdb(int mdb_code)
{
    switch (mdb_code) {
    case MDB_SUCCESS:
        return STORE_OK;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STORE_E_NOSPACE;
    case ENOMEM:
    case MDB_READERS_FULL:
    case MDB_TLS_FULL:
        return STORE_E_NOMEM;
    case MDB_VERSION_MISMATCH:
        return STORE_E_VERSION;
    case MDB_NOTFOUND:
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
    case MDB_BAD_VALSIZE:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
        return STORE_E_CORRUPT;
    default:
        return STORE_E_IO;
    }
}
