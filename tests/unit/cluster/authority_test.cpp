#include "runtime/base/file.hpp"
#include "runtime/cluster/authority.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <memory>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

using namespace weir;
using namespace weir::cluster;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

using x509 = std::unique_ptr<X509, decltype(&X509_free)>;
using pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using bio = std::unique_ptr<BIO, decltype(&BIO_free_all)>;

std::string text_of(const fs::path& file) { return read_file(file, 1 << 20).value(); }

x509 load(const fs::path& file) {
  auto pem = text_of(file);
  bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free_all);
  return {PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), X509_free};
}

/// What OpenSSL prints of it.
std::string printed(const fs::path& file) {
  bio out(BIO_new(BIO_s_mem()), BIO_free_all);
  X509_print(out.get(), load(file).get());
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(out.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

mode_t mode_of(const fs::path& path) {
  struct stat s {};
  return stat(path.c_str(), &s) == 0 ? s.st_mode & 07777 : 0;
}

class Authority : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_TRUE(make_authority(folder, "live"));
    ASSERT_TRUE(issue(folder, "worker-1"));
  }
  ~Authority() override {
    EXPECT_EQ(ERR_peek_error(), 0u) << "errors left behind end the TLS sessions of this thread";
    fs::remove_all(root);
  }

  expected<void> check(const std::string& ca, const std::string& certificate, const std::string& key) const {
    return check_identity(at(ca), at(certificate), at(key));
  }
  std::string at(const std::string& name) const { return folder + "/" + name; }
  /// That it failed so, in one sentence about that file.
  template <class T>
  static void refused(const expected<T>& e, error_code code, const std::string& file, const std::string& why) {
    ASSERT_FALSE(e);
    EXPECT_EQ(to_string(e.error().code), to_string(code));
    EXPECT_TRUE(e.error().text.starts_with(file + ": ")) << e.error().text;
    EXPECT_NE(e.error().text.find(why), std::string::npos) << e.error().text;
    EXPECT_EQ(e.error().text.find('\n'), std::string::npos);
  }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {})); }

  fs::path root = [] {
    std::string name = fs::temp_directory_path() / "weir-authority-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
  std::string folder = root / "made" / "ca";
};

} // namespace

TEST_F(Authority, IsMadeWithPrivateKeyAndFolder) {
  EXPECT_EQ(mode_of(folder), 0700u);
  EXPECT_EQ(mode_of(at("ca.key")), 0600u);
  EXPECT_EQ(mode_of(at("ca.pem")), 0644u);
  auto facts = read_certificate(at("ca.pem"));
  ASSERT_TRUE(facts) << facts.error().text;
  EXPECT_EQ(facts->subject, "CN=Weir cluster live");
  EXPECT_EQ(facts->issuer, facts->subject);
  EXPECT_TRUE(facts->is_authority);
  auto ca = load(at("ca.pem"));
  EXPECT_EQ(X509_verify(ca.get(), X509_get0_pubkey(ca.get())), 1);
  auto text = printed(at("ca.pem"));
  for (auto* part : {"X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
                     "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign", "X509v3 Subject Key Identifier:", "NIST CURVE: P-256",
                     "ecdsa-with-SHA256"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST_F(Authority, LeavesAForeignFolderItsPermissions) {
  fs::create_directory(root / "shared");
  ASSERT_EQ(chmod((root / "shared").c_str(), 0755), 0);
  ASSERT_TRUE(make_authority(root / "shared", "live"));
  EXPECT_EQ(mode_of(root / "shared"), 0755u);
}

TEST_F(Authority, IsNeverOverwritten) {
  auto certificate = text_of(at("ca.pem")), key = text_of(at("ca.key"));
  refused(make_authority(folder, "live"), error_code::already_exists, at("ca.key"), "is there already");
  fs::remove(at("ca.key"));
  refused(make_authority(folder, "live"), error_code::already_exists, at("ca.pem"), "is there already");
  EXPECT_EQ(text_of(at("ca.pem")), certificate);
  ASSERT_TRUE(write_file_atomically(at("ca.key"), key, 0600));
  fs::remove(at("ca.pem"));
  refused(make_authority(folder, "live"), error_code::already_exists, at("ca.key"), "is there already");
  EXPECT_EQ(text_of(at("ca.key")), key);
}

TEST_F(Authority, LeavesNothingBehindWhenItCannotBeMade) {
  ASSERT_TRUE(write_file_atomically(root / "file", ""));
  EXPECT_FALSE(make_authority(root / "file" / "ca", "live"));
  for (auto& name : {std::string(), std::string(52, 'a'), std::string("a b"), std::string("a\nb"), std::string("a,CA:TRUE")}) {
    auto made = make_authority(root / "other", name);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, error_code::invalid_input) << made.error().text;
  }
  EXPECT_FALSE(fs::exists(root / "other"));
  EXPECT_TRUE(make_authority(root / "other", std::string(51, 'a')));
}

TEST_F(Authority, IssuesWhatANodeNeeds) {
  EXPECT_EQ(mode_of(at("worker-1.key")), 0600u);
  EXPECT_EQ(mode_of(at("worker-1.pem")), 0644u);
  auto ca = load(at("ca.pem")), node = load(at("worker-1.pem"));
  EXPECT_EQ(X509_verify(node.get(), X509_get0_pubkey(ca.get())), 1);
  EXPECT_EQ(X509_check_issued(ca.get(), node.get()), X509_V_OK);
  EXPECT_EQ(X509_check_host(node.get(), "worker-1", 0, 0, nullptr), 1);
  auto facts = read_certificate(at("worker-1.pem"));
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->subject, "CN=worker-1");
  EXPECT_EQ(facts->issuer, "CN=Weir cluster live");
  EXPECT_FALSE(facts->is_authority);
  auto now = std::chrono::system_clock::now();
  EXPECT_LT(std::chrono::abs(now - 5min - facts->not_before), 1min);
  EXPECT_LT(std::chrono::abs(now + std::chrono::days(825) - facts->not_after), 1min);
  auto text = printed(at("worker-1.pem"));
  for (auto* part : {"CA:FALSE", "TLS Web Server Authentication, TLS Web Client Authentication", "DNS:worker-1", "X509v3 Authority Key Identifier:",
                     "NIST CURVE: P-256"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  auto fine = check("ca.pem", "worker-1.pem", "worker-1.key");
  EXPECT_TRUE(fine) << fine.error().text;
}

TEST_F(Authority, IssuesAgainUnderTheSameName) {
  auto first = load(at("worker-1.pem"));
  auto key = text_of(at("worker-1.key"));
  ASSERT_TRUE(issue(folder, "worker-1"));
  auto second = load(at("worker-1.pem"));
  EXPECT_NE(ASN1_INTEGER_cmp(X509_get0_serialNumber(first.get()), X509_get0_serialNumber(second.get())), 0);
  EXPECT_GT(ASN1_STRING_length(X509_get0_serialNumber(second.get())), 8);
  EXPECT_NE(text_of(at("worker-1.key")), key);
  EXPECT_TRUE(check("ca.pem", "worker-1.pem", "worker-1.key"));
  EXPECT_EQ(files(), 4u) << "nothing may lie beside them";
}

TEST_F(Authority, IsNotOutlivedByItsCertificates) {
  auto other = std::string(root / "short");
  ASSERT_TRUE(make_authority(other, "live", std::chrono::days(10)));
  ASSERT_TRUE(issue(other, "a"));
  EXPECT_EQ(read_certificate(other + "/a.pem")->not_after, read_certificate(other + "/ca.pem")->not_after);
}

TEST_F(Authority, TakesOnlyNamesThatAreFileNamesAndHostNames) {
  using namespace std::string_literals;
  for (auto& name : {""s, "ca"s, ".hidden"s, "../ca"s, "a/b"s, "a b"s, "a,DNS:b"s, "a\0b"s, "a\nb"s, "ä"s, std::string(65, 'a'),
                     std::string(100'000, 'a')}) {
    auto issued = issue(folder, name);
    ASSERT_FALSE(issued) << name;
    EXPECT_EQ(issued.error().code, error_code::invalid_input) << issued.error().text;
    EXPECT_LT(issued.error().text.size(), 300u);
  }
  EXPECT_EQ(files(), 4u);
  for (auto& name : {"A.b_c-9"s, std::string(64, 'a'), "ca.key"s, "-x"s}) {
    auto issued = issue(folder, name);
    EXPECT_TRUE(issued) << issued.error().text;
    EXPECT_TRUE(check("ca.pem", name + ".pem", name + ".key")) << name;
  }
  EXPECT_TRUE(check("ca.pem", "worker-1.pem", "worker-1.key"));
}

TEST_F(Authority, CannotIssueWhenItIsNotWhole) {
  refused(issue(root / "none", "a"), error_code::not_found, root / "none" / "ca.pem", "No such file");
  ASSERT_EQ(chmod(at("ca.key").c_str(), 0640), 0);
  refused(issue(folder, "a"), error_code::forbidden, at("ca.key"), "0640");
  ASSERT_TRUE(write_file_atomically(at("ca.key"), text_of(at("worker-1.key")), 0600));
  refused(issue(folder, "a"), error_code::unauthorized, at("ca.key"), "is not the key of");
  ASSERT_TRUE(write_file_atomically(at("ca.pem"), text_of(at("worker-1.pem"))));
  refused(issue(folder, "a"), error_code::invalid_input, at("ca.pem"), "not the certificate of an authority");
  auto old = std::string(root / "old");
  ASSERT_TRUE(make_authority(old, "live", std::chrono::days(-1)));
  refused(issue(old, "a"), error_code::unauthorized, old + "/ca.pem", "expired");
  EXPECT_FALSE(fs::exists(at("a.key")));
}

TEST_F(Authority, RefusesEndlessValidity) {
  EXPECT_EQ(issue(folder, "a", std::chrono::days(36'501)).error().code, error_code::invalid_input);
  EXPECT_TRUE(make_authority(root / "long", "live", std::chrono::days(36'500)));
}

TEST_F(Authority, KnowsItsOwnFromAnother) {
  auto other = std::string(root / "other");
  ASSERT_TRUE(make_authority(other, "live")); // of the same name
  refused(check_identity(other + "/ca.pem", at("worker-1.pem"), at("worker-1.key")), error_code::unauthorized, at("worker-1.pem"),
          "is not signed by the authority in " + other);
  // While one authority replaces another, nodes trust both.
  ASSERT_TRUE(write_file_atomically(at("both.pem"), text_of(other + "/ca.pem") + text_of(at("ca.pem"))));
  auto fine = check("both.pem", "worker-1.pem", "worker-1.key");
  EXPECT_TRUE(fine) << fine.error().text;
}

TEST_F(Authority, IsNoIdentityOfANodeAndANodeIsNoAuthority) {
  refused(check("ca.pem", "ca.pem", "ca.key"), error_code::unauthorized, at("ca.pem"), "must not lie on a node");
  refused(check("worker-1.pem", "worker-1.pem", "worker-1.key"), error_code::unauthorized, at("worker-1.pem"), "not an authority's");
}

TEST_F(Authority, RefusesAForeignKey) {
  ASSERT_TRUE(issue(folder, "worker-2"));
  refused(check("ca.pem", "worker-1.pem", "worker-2.key"), error_code::unauthorized, at("worker-2.key"), "is not the key of " + at("worker-1.pem"));
}

TEST_F(Authority, RefusesAnExpiredCertificate) {
  ASSERT_TRUE(issue(folder, "late", std::chrono::days(-1)));
  refused(check("ca.pem", "late.pem", "late.key"), error_code::unauthorized, at("late.pem"), "expired at 20");
}

TEST_F(Authority, RefusesAKeyThatOthersMayRead) {
  for (mode_t mode : {0640u, 0604u, 0660u, 0601u}) {
    ASSERT_EQ(chmod(at("worker-1.key").c_str(), mode), 0);
    refused(check("ca.pem", "worker-1.pem", "worker-1.key"), error_code::forbidden, at("worker-1.key"), fmt::format("{:04o}", mode));
  }
  ASSERT_EQ(chmod(at("worker-1.key").c_str(), 0400), 0);
  EXPECT_TRUE(check("ca.pem", "worker-1.pem", "worker-1.key"));
}

TEST_F(Authority, IsNotAskedAboutAPairForSomebodyElsesServer) {
  auto pair = [&](const std::string& certificate, const std::string& key) { return check_pair(at(certificate), at(key)); };
  auto fine = pair("worker-1.pem", "worker-1.key");
  EXPECT_TRUE(fine) << fine.error().text;
  refused(pair("absent.pem", "worker-1.key"), error_code::not_found, at("absent.pem"), "No such file");
  refused(pair("worker-1.pem", "absent.key"), error_code::not_found, at("absent.key"), "No such file");
  refused(pair("worker-1.key", "worker-1.key"), error_code::invalid_input, at("worker-1.key"), "holds no PEM certificate");
  ASSERT_TRUE(issue(folder, "worker-2"));
  refused(pair("worker-1.pem", "worker-2.key"), error_code::unauthorized, at("worker-2.key"), "is not the key of " + at("worker-1.pem"));
  ASSERT_TRUE(issue(folder, "late", std::chrono::days(-1)));
  refused(pair("late.pem", "late.key"), error_code::unauthorized, at("late.pem"), "expired at 20");
  ASSERT_EQ(chmod(at("worker-1.key").c_str(), 0640), 0);
  refused(pair("worker-1.pem", "worker-1.key"), error_code::forbidden, at("worker-1.key"), "0640");
}

TEST_F(Authority, RefusesAKeyUnderAPassPhrase) {
  auto pem = text_of(at("worker-1.key"));
  bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free_all), out(BIO_new(BIO_s_mem()), BIO_free_all);
  pkey key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  ASSERT_EQ(PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), EVP_aes_256_cbc(), "word", 4, nullptr, nullptr), 1);
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(out.get(), &bytes);
  ASSERT_TRUE(write_file_atomically(at("locked.key"), {bytes, static_cast<std::size_t>(size)}, 0600));
  refused(check("ca.pem", "worker-1.pem", "locked.key"), error_code::invalid_input, at("locked.key"), "pass phrase");
}

TEST_F(Authority, SaysWhichFileIsMissingBrokenOrTooLarge) {
  const std::string good[] = {"ca.pem", "worker-1.pem", "worker-1.key"};
  for (std::size_t i = 0; i < 3; ++i) {
    auto pem = text_of(at(good[i]));
    std::string names[] = {good[0], good[1], good[2]};
    names[i] = "bad";
    auto with = [&](const std::string& content, error_code code, const std::string& why) {
      SCOPED_TRACE(good[i]);
      ASSERT_TRUE(write_file_atomically(at("bad"), content, 0600, sync::no));
      refused(check(names[0], names[1], names[2]), code, at("bad"), why);
    };
    fs::remove(at("bad"));
    refused(check(names[0], names[1], names[2]), error_code::not_found, at("bad"), "No such file");
    with("", error_code::invalid_input, "is empty");
    auto none = i < 2 ? "holds no PEM certificate" : "holds no whole PEM private key", broken = i < 2 ? "holds a broken PEM certificate: " : none;
    with("hello", error_code::invalid_input, none);
    with(text_of(at(i < 2 ? "worker-1.key" : "worker-1.pem")), error_code::invalid_input, none);
    with(pem.substr(0, pem.size() / 2), error_code::invalid_input, broken);
    with(pem.substr(0, 40), error_code::invalid_input, broken);
    with(std::string(1 << 20, 'x'), error_code::too_large, "65536");
    with(pem + std::string(1 << 16, '\n'), error_code::too_large, "65536");
    auto wrong = pem;
    wrong.replace(pem.find('\n') + 1, 4, "AAAA");
    with(wrong, error_code::invalid_input, broken);
  }
  ASSERT_TRUE(write_file_atomically(at("bad"), text_of(at("ca.pem")) + text_of(at("ca.pem")).substr(0, 100)));
  refused(check("bad", "worker-1.pem", "worker-1.key"), error_code::invalid_input, at("bad"), "holds a broken PEM");
  EXPECT_FALSE(read_certificate(folder));
}

TEST(Certificate, FactsAreOfTextToo) {
  EXPECT_EQ(parse_certificate({}).error().code, error_code::invalid_input);
  EXPECT_EQ(parse_certificate(std::string(100'000, '-')).error().code, error_code::too_large);
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(Certificate, MayBeForEverAndMayTryToWriteOnTheTerminal) {
  pkey key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  x509 made(X509_new(), X509_free);
  ASN1_TIME_set_string(X509_getm_notBefore(made.get()), "00010101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(made.get()), "99991231235959Z");
  const std::string name = "a\x1b[31m\nb\xc3\xa4";
  auto* bytes_of_name = reinterpret_cast<const unsigned char*>(name.data());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8, bytes_of_name, static_cast<int>(name.size()), -1, 0);
  X509_set_pubkey(made.get(), key.get());
  ASSERT_GT(X509_sign(made.get(), key.get(), EVP_sha256()), 0);
  bio out(BIO_new(BIO_s_mem()), BIO_free_all);
  ASSERT_EQ(PEM_write_bio_X509(out.get(), made.get()), 1);
  char* bytes = nullptr;
  auto size = BIO_get_mem_data(out.get(), &bytes);
  auto facts = parse_certificate({bytes, static_cast<std::size_t>(size)});
  ASSERT_TRUE(facts) << facts.error().text;
  EXPECT_EQ(facts->subject, "CN=a\\1B[31m\\0Ab\\C3\\A4");
  EXPECT_EQ(facts->issuer, "");
  EXPECT_GT(facts->not_after, std::chrono::sys_days(std::chrono::year(2262) / 1 / 1));
  EXPECT_LT(facts->not_before, std::chrono::sys_days(std::chrono::year(1700) / 1 / 1));
}
