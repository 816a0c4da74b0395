/* Encryption inside a program: the records and the key file of the handler crypt, TLS 1.3.
   Without -DINSIDE, and without a key file, plain bytes. */
#ifdef INSIDE
#include <openssl/ssl.h>

static SSL_CTX *keys;
static SSL *tls; /* of the one connection that a process has at a time */

static void key(const char *file)
{
    keys = SSL_CTX_new(TLS_method());
    SSL_CTX_set_min_proto_version(keys, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(keys, "TLS_AES_256_GCM_SHA384");
    SSL_CTX_set_num_tickets(keys, 0);
    SSL_CTX_set_verify(keys, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, 0);
    must(SSL_CTX_use_PrivateKey_file(keys, file, SSL_FILETYPE_PEM) == 1 &&
             SSL_CTX_use_certificate_file(keys, file, SSL_FILETYPE_PEM) == 1 &&
             SSL_CTX_load_verify_locations(keys, file, 0) == 1,
         file);
}

static void encrypt(int fd, int server)
{
    if (!keys)
        return;
    tls = SSL_new(keys);
    SSL_set_fd(tls, fd);
    must((server ? SSL_accept(tls) : SSL_connect(tls)) == 1, "handshake");
}

static ssize_t put(int fd, const void *data, size_t size)
{
    return tls ? SSL_write(tls, data, size) : send(fd, data, size, 0);
}

static ssize_t get(int fd, void *data, size_t size)
{
    return tls ? SSL_read(tls, data, size) : recv(fd, data, size, 0);
}

static void done(int fd)
{
    if (tls) {
        SSL_shutdown(tls);
        SSL_free(tls);
        tls = 0;
    }
    close(fd);
}
#else
static void key(const char *file)
{
    fprintf(stderr, "-k %s: compiled without encryption\n", file);
    exit(2);
}

static void encrypt(int fd, int server)
{
    (void)fd, (void)server;
}

static ssize_t put(int fd, const void *data, size_t size)
{
    return send(fd, data, size, 0);
}

static ssize_t get(int fd, void *data, size_t size)
{
    return recv(fd, data, size, 0);
}

static void done(int fd)
{
    close(fd);
}
#endif
