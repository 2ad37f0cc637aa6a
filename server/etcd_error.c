#include "server/etcd_error.h"

static const struct {
    enum grpc_status status;
    const char *text;
} errors[] = {
#define ETCD_ROW(name, code, text) [name] = { code, text },
    ETCD_ERRORS(ETCD_ROW)
#undef ETCD_ROW
};

const char *etcd_error_text(enum etcd_error error)
{
    return errors[error].text;
}

enum grpc_status etcd_error_status(enum etcd_error error)
{
    return errors[error].status;
}
