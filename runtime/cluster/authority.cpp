#include "runtime/cluster/authority.hpp"

#include "runtime/base/file.hpp"

#include <algorithm>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace weir::cluster {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::sys_seconds;

constexpr std::size_t file_limit = 64 * 1024;
constexpr std::size_t name_limit = 64; ///< of a common name (RFC 5280, ub-common-name)
constexpr std::string_view authority_prefix = "Weir cluster ";
constexpr auto clock_skew = 5min; ///< by which a node's clock may be late and the node still take a new certificate
constexpr auto longest = std::chrono::days(36'500);

template <auto release>
struct released_by {
  template <class T>
  void operator()(T* it) const { release(it); }
};
template <class T, auto release>
using owned = std::unique_ptr<T, released_by<release>>;

using bio = owned<BIO, BIO_free_all>;
using key_pair = owned<EVP_PKEY, EVP_PKEY_free>;
using x509 = owned<X509, X509_free>;
using x509_name = owned<X509_NAME, X509_NAME_free>;

/// OpenSSL keeps errors by thread, and a TLS session of the same thread takes those that lie there for its own: we leave none behind.
struct error_queue {
  error_queue() { ERR_clear_error(); }
  ~error_queue() { ERR_clear_error(); }
  error_queue(const error_queue&) = delete;
  error_queue& operator=(const error_queue&) = delete;

  /// The first one, which says most: those after it only say who called.
  static std::string first() {
    auto* text = ERR_reason_error_string(ERR_peek_error());
    return text ? text : "OpenSSL gives no reason";
  }
};

tl::unexpected<error> openssl_failed(std::string_view what) { return fail(error_code::internal, fmt::format("{}: {}", what, error_queue::first())); }

bool plain_word(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

fs::path certificate_file(const std::string& folder, std::string_view name) { return fs::path(folder) / fmt::format("{}.pem", name); }
fs::path key_file(const std::string& folder, std::string_view name) { return fs::path(folder) / fmt::format("{}.key", name); }

/// Whether something of that name is there, if only a link that leads nowhere.
bool present(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

// reading

/// OpenSSL would ask for a pass phrase on the terminal.
int no_pass_phrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

bool no_more_blocks() {
  auto last = ERR_peek_last_error();
  return ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

expected<bio> reader(std::string_view text) {
  if (text.size() > file_limit)
    return fail(error_code::too_large, fmt::format("more than {} bytes", file_limit));
  if (text.empty())
    return fail(error_code::invalid_input, "is empty");
  bio in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!in)
    return openssl_failed("cannot be read");
  return in;
}

/// At least one.
expected<std::vector<x509>> parse_certificates(std::string_view pem) {
  auto in = reader(pem);
  WEIR_TRY(in);
  std::vector<x509> found;
  for (bool asked = false;;) {
    x509 one(PEM_read_bio_X509(in->get(), nullptr, no_pass_phrase, &asked));
    if (one)
      found.push_back(std::move(one));
    else if (!no_more_blocks())
      return fail(error_code::invalid_input, fmt::format("holds a broken PEM certificate: {}", error_queue::first()));
    else if (found.empty())
      return fail(error_code::invalid_input, "holds no PEM certificate");
    else
      return found;
  }
}

expected<key_pair> parse_key(std::string_view pem) {
  auto in = reader(pem);
  WEIR_TRY(in);
  bool asked = false;
  key_pair found(PEM_read_bio_PrivateKey(in->get(), nullptr, no_pass_phrase, &asked));
  if (asked)
    return fail(error_code::invalid_input, "holds a key under a pass phrase, which nobody can enter when a node starts");
  if (!found) // OpenSSL's decoders give the same reasons for a broken one as for none
    return fail(error_code::invalid_input, "holds no whole PEM private key");
  return found;
}

expected<std::vector<x509>> read_certificates(const std::string& file) {
  auto pem = read_file(file, file_limit);
  WEIR_TRY(pem);
  return parse_certificates(*pem).map_error([&](const error& e) { return e.in(file); });
}

expected<key_pair> read_key(const std::string& file) {
  // Guards against a mistake, not against somebody who may change the folder: so a look at the path will do.
  struct stat s {};
  if (::stat(file.c_str(), &s) != 0)
    return fail(system_error(file));
  if ((s.st_mode & 0077) != 0)
    return fail(error_code::forbidden,
                fmt::format("{}: holds a private key but has mode {:04o}, open to others than its owner (chmod 600)", file, s.st_mode & 07777));
  auto pem = read_file(file, file_limit);
  WEIR_TRY(pem);
  return parse_key(*pem).map_error([&](const error& e) { return e.in(file); });
}

// what stands in a certificate

expected<sys_seconds> time_of(const ASN1_TIME* time) {
  std::tm t{};
  if (!time || ASN1_TIME_to_tm(time, &t) != 1)
    return fail(error_code::invalid_input, "holds a certificate with a broken time");
  auto date = std::chrono::year(t.tm_year + 1900) / (t.tm_mon + 1) / t.tm_mday;
  return std::chrono::sys_days(date) + std::chrono::hours(t.tm_hour) + std::chrono::minutes(t.tm_min) + std::chrono::seconds(t.tm_sec);
}

/// 9999-12-31 is a usual way to say "for ever", and nanoseconds in 64 bits end in 2262.
timestamp to_timestamp(sys_seconds t) {
  using std::chrono::ceil, std::chrono::floor;
  return std::clamp(t, ceil<std::chrono::seconds>(timestamp::min()), floor<std::chrono::seconds>(timestamp::max()));
}

std::string to_text(sys_seconds t) { return to_rfc3339(to_timestamp(t)); }

/// RFC 2253: everything but printable ASCII comes escaped, so it can go to logs and terminals as it is.
expected<std::string> text_of(const X509_NAME* name) {
  bio out(BIO_new(BIO_s_mem()));
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0)
    return fail(error_code::invalid_input, "holds a certificate with a broken name");
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(out.get(), &bytes);
  return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
}

bool is_authority(X509* it) { return X509_check_ca(it) == 1; }

expected<certificate_facts> facts_of(X509* it) {
  auto subject = text_of(X509_get_subject_name(it)), issuer = text_of(X509_get_issuer_name(it));
  WEIR_TRY(subject);
  WEIR_TRY(issuer);
  auto from = time_of(X509_get0_notBefore(it)), until = time_of(X509_get0_notAfter(it));
  WEIR_TRY(from);
  WEIR_TRY(until);
  return certificate_facts{std::move(*subject), std::move(*issuer), to_timestamp(*from), to_timestamp(*until), is_authority(it)};
}

expected<void> check_time(X509* it, sys_seconds now) {
  auto from = time_of(X509_get0_notBefore(it)), until = time_of(X509_get0_notAfter(it));
  WEIR_TRY(from);
  WEIR_TRY(until);
  if (now < *from)
    return fail(error_code::unauthorized, fmt::format("is valid only from {} on; is this machine's clock right?", to_text(*from)));
  if (now > *until)
    return fail(error_code::unauthorized, fmt::format("expired at {}", to_text(*until)));
  return {};
}

sys_seconds now() { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }

// making

struct wish {
  std::string name;
  sys_seconds from, until;
  std::vector<std::pair<int, std::string>> extensions; ///< as openssl.cnf has them
};

expected<wish> wish_for(std::string name, std::chrono::days valid) {
  if (std::chrono::abs(valid) > longest)
    return fail(error_code::invalid_input, fmt::format("{} days are more than {}", valid.count(), longest.count()));
  auto at = now();
  return wish{std::move(name), std::min(at, at + valid) - clock_skew, at + valid, {}};
}

/// 128 random bits: two that one authority signs never have the same number.
bool number(X509* it) {
  owned<BIGNUM, BN_free> n(BN_new());
  return n && BN_rand(n.get(), 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 && BN_to_ASN1_INTEGER(n.get(), X509_get_serialNumber(it));
}

bool set_time(ASN1_TIME* field, sys_seconds t) { return ASN1_TIME_set(field, static_cast<std::time_t>(t.time_since_epoch().count())) != nullptr; }

bool set_subject(X509* it, const std::string& name) {
  x509_name subject(X509_NAME_new());
  auto* bytes = reinterpret_cast<const unsigned char*>(name.data());
  return subject && X509_NAME_add_entry_by_txt(subject.get(), "CN", MBSTRING_UTF8, bytes, static_cast<int>(name.size()), -1, 0) == 1 &&
         X509_set_subject_name(it, subject.get()) == 1;
}

bool extend(X509* it, X509* issuer, const wish& w) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, it, nullptr, nullptr, 0);
  return std::ranges::all_of(w.extensions, [&](auto& e) {
    owned<X509_EXTENSION, X509_EXTENSION_free> made(X509V3_EXT_conf_nid(nullptr, &context, e.first, e.second.c_str()));
    return made && X509_add_ext(it, made.get(), -1) == 1;
  });
}

/// Without an issuer it signs itself.
expected<x509> sign(const wish& w, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  x509 made(X509_new());
  auto* it = made.get();
  issuer = issuer ? issuer : it;
  bool good = it && X509_set_version(it, X509_VERSION_3) == 1 && number(it) && set_subject(it, w.name) &&
              X509_set_issuer_name(it, X509_get_subject_name(issuer)) == 1 && set_time(X509_getm_notBefore(it), w.from) &&
              set_time(X509_getm_notAfter(it), w.until) && X509_set_pubkey(it, key) == 1 && extend(it, issuer, w) &&
              X509_sign(it, issuer_key, EVP_sha256()) > 0;
  if (!good)
    return openssl_failed("making a certificate");
  return made;
}

expected<key_pair> make_key() {
  key_pair made(EVP_EC_gen("P-256"));
  if (!made)
    return openssl_failed("making a key");
  return made;
}

template <class Write>
expected<std::string> to_pem(Write write) {
  bio out(BIO_new(BIO_s_mem()));
  if (!out || write(out.get()) != 1)
    return openssl_failed("writing PEM");
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(out.get(), &bytes);
  return std::string(bytes, static_cast<std::size_t>(size));
}

expected<std::string> to_pem(X509* it) {
  return to_pem([&](BIO* out) { return PEM_write_bio_X509(out, it); });
}
expected<std::string> to_pem(EVP_PKEY* it) {
  return to_pem([&](BIO* out) { return PEM_write_bio_PKCS8PrivateKey(out, it, nullptr, nullptr, 0, nullptr, nullptr); });
}

struct authority {
  x509 certificate;
  key_pair key;
};

expected<authority> read_authority(const std::string& folder) {
  auto file = certificate_file(folder, "ca").native(), secret = key_file(folder, "ca").native();
  auto certificates = read_certificates(file);
  WEIR_TRY(certificates);
  auto key = read_key(secret);
  WEIR_TRY(key);
  auto& certificate = certificates->front();
  if (!is_authority(certificate.get()))
    return fail(error_code::invalid_input, fmt::format("{}: is not the certificate of an authority", file));
  if (X509_check_private_key(certificate.get(), key->get()) != 1)
    return fail(error_code::unauthorized, fmt::format("{}: is not the key of {}", secret, file));
  if (auto good = check_time(certificate.get(), now()); !good)
    return fail(good.error().in(file));
  return authority{std::move(certificate), std::move(*key)};
}

// checking

/// As a handshake does it, where each node is client here and server there.
expected<void> check_signed(const std::vector<x509>& own, const std::vector<x509>& trusted, const std::string& file, const std::string& ca) {
  owned<X509_STORE, X509_STORE_free> store(X509_STORE_new());
  auto release = [](STACK_OF(X509) * all) { sk_X509_free(all); }; // the certificates are those of `own`
  std::unique_ptr<STACK_OF(X509), decltype(release)> chain(sk_X509_new_null(), release);
  bool good = store && chain;
  for (auto& c : trusted)
    good = good && X509_STORE_add_cert(store.get(), c.get()) == 1;
  for (auto& c : own)
    good = good && sk_X509_push(chain.get(), c.get()) > 0;
  for (auto* purpose : {"ssl_client", "ssl_server"}) {
    owned<X509_STORE_CTX, X509_STORE_CTX_free> check(good ? X509_STORE_CTX_new() : nullptr);
    if (!check || X509_STORE_CTX_init(check.get(), store.get(), own.front().get(), chain.get()) != 1 ||
        X509_STORE_CTX_set_default(check.get(), purpose) != 1)
      return openssl_failed(file);
    if (X509_verify_cert(check.get()) == 1)
      continue;
    auto why = X509_STORE_CTX_get_error(check.get());
    switch (why) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return fail(error_code::unauthorized, fmt::format("{}: is not signed by the authority in {}", file, ca));
    default:
      return fail(error_code::unauthorized,
                  fmt::format("{}: is no good for cluster connections: {}", X509_STORE_CTX_get_error_depth(check.get()) > 0 ? ca : file,
                              X509_verify_cert_error_string(why)));
    }
  }
  return {};
}

} // namespace

expected<void> check_node_name(std::string_view name) {
  auto bad = [&](std::string_view why) {
    return fail(error_code::invalid_input, fmt::format("node name {:?} {}", name.substr(0, 2 * name_limit), why));
  };
  if (name.empty() || name.size() > name_limit)
    return bad(fmt::format("has not 1 to {} characters", name_limit));
  if (!plain_word(name))
    return bad("holds more than letters, digits, '-', '_' and '.'");
  if (name.starts_with('.'))
    return bad("begins with '.'");
  if (name == "ca")
    return bad("is that of the authority's own files");
  return {};
}

expected<void> make_authority(const std::string& folder, const std::string& cluster_name, std::chrono::days valid) {
  error_queue queue;
  constexpr auto most = name_limit - authority_prefix.size();
  if (cluster_name.empty() || cluster_name.size() > most || !plain_word(cluster_name))
    return fail(error_code::invalid_input, fmt::format("cluster name {:?} is not 1 to {} letters, digits, '-', '_' and '.'",
                                                       cluster_name.substr(0, 2 * name_limit), most));
  auto wanted = wish_for(fmt::format("{}{}", authority_prefix, cluster_name), valid);
  WEIR_TRY(wanted);
  wanted->extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                        {NID_key_usage, "critical,keyCertSign,cRLSign"},
                        {NID_subject_key_identifier, "hash"}};
  auto file = certificate_file(folder, "ca"), secret = key_file(folder, "ca");
  for (auto& path : {secret, file})
    if (present(path))
      return fail(error_code::already_exists, fmt::format("{}: is there already and stays as it is: nodes trust it", path.native()));
  auto key = make_key();
  WEIR_TRY(key);
  auto certificate = sign(*wanted, key->get(), nullptr, key->get());
  WEIR_TRY(certificate);
  auto key_pem = to_pem(key->get()), certificate_pem = to_pem(certificate->get());
  WEIR_TRY(key_pem);
  WEIR_TRY(certificate_pem);

  if (!present(folder)) // one that is there keeps its permissions: it may be anybody's
    WEIR_TRY(make_private_directory(folder));
  // Of two that do this at once one gets the name; the other one fails, instead of pairing its key with a foreign certificate.
  if (unique_fd reserved(::open(secret.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)); !reserved)
    return fail(system_error(secret.native()));
  auto written = write_file_atomically(secret, *key_pem, 0600).and_then([&] { return write_file_atomically(file, *certificate_pem, 0644); });
  if (!written) {
    ::unlink(secret.c_str());
    ::unlink(file.c_str());
  }
  return written;
}

expected<void> issue(const std::string& folder, const std::string& node_name, std::chrono::days valid) {
  error_queue queue;
  WEIR_TRY(check_node_name(node_name));
  auto wanted = wish_for(node_name, valid);
  WEIR_TRY(wanted);
  auto signer = read_authority(folder);
  WEIR_TRY(signer);
  auto last = time_of(X509_get0_notAfter(signer->certificate.get()));
  WEIR_TRY(last);
  wanted->until = std::min(wanted->until, *last);
  wanted->extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                        {NID_key_usage, "critical,digitalSignature"},
                        {NID_ext_key_usage, "serverAuth,clientAuth"},
                        {NID_subject_alt_name, "DNS:" + node_name},
                        {NID_subject_key_identifier, "hash"},
                        {NID_authority_key_identifier, "keyid:always"}};
  auto key = make_key();
  WEIR_TRY(key);
  auto certificate = sign(*wanted, key->get(), signer->certificate.get(), signer->key.get());
  WEIR_TRY(certificate);
  auto key_pem = to_pem(key->get()), certificate_pem = to_pem(certificate->get());
  WEIR_TRY(key_pem);
  WEIR_TRY(certificate_pem);
  WEIR_TRY(write_file_atomically(key_file(folder, node_name), *key_pem, 0600));
  return write_file_atomically(certificate_file(folder, node_name), *certificate_pem, 0644);
}

expected<certificate_facts> parse_certificate(std::string_view pem) {
  error_queue queue;
  return parse_certificates(pem).and_then([](const std::vector<x509>& all) { return facts_of(all.front().get()); });
}

expected<certificate_facts> read_certificate(const std::string& file) {
  auto pem = read_file(file, file_limit);
  WEIR_TRY(pem);
  return parse_certificate(*pem).map_error([&](const error& e) { return e.in(file); });
}

expected<void> check_identity(const std::string& ca, const std::string& certificate, const std::string& key) {
  error_queue queue;
  auto trusted = read_certificates(ca);
  WEIR_TRY(trusted);
  auto own = read_certificates(certificate);
  WEIR_TRY(own);
  auto secret = read_key(key);
  WEIR_TRY(secret);
  if (!std::ranges::all_of(*trusted, [](auto& c) { return is_authority(c.get()); }))
    return fail(error_code::unauthorized, fmt::format("{}: holds a certificate that is not an authority's", ca));
  if (is_authority(own->front().get()))
    return fail(error_code::unauthorized,
                fmt::format("{}: is an authority's own, whose key must not lie on a node (weir cluster issue)", certificate));
  if (auto good = check_time(own->front().get(), now()); !good)
    return fail(good.error().in(certificate));
  WEIR_TRY(check_signed(*own, *trusted, certificate, ca));
  if (X509_check_private_key(own->front().get(), secret->get()) != 1)
    return fail(error_code::unauthorized, fmt::format("{}: is not the key of {}", key, certificate));
  return {};
}

expected<void> check_pair(const std::string& certificate, const std::string& key) {
  error_queue queue;
  auto own = read_certificates(certificate);
  WEIR_TRY(own);
  auto secret = read_key(key);
  WEIR_TRY(secret);
  if (auto good = check_time(own->front().get(), now()); !good)
    return fail(good.error().in(certificate));
  if (X509_check_private_key(own->front().get(), secret->get()) != 1)
    return fail(error_code::unauthorized, fmt::format("{}: is not the key of {}", key, certificate));
  return {};
}

} // namespace weir::cluster
