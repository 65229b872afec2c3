#pragma once
// The one place that knows which CAF we are built with (0.17.6; docs/6-decisions.md). Everything else speaks in these words:
//   using echo_actor = typed_actor_t<pong(ping), void(stop)>;      an interface as function signatures, one plain struct for each message
//   tell(self, echo, ping{}), tell_after(self, 1s, echo, ping{}), ask(self, 1s, echo, ping{}).then(…), tell_anon(echo, ping{})
//   WEIR_MESSAGE(ping, a, b) or WEIR_MESSAGE_EMPTY(stop)           how a message that is not `described` travels
#include "schemas/error.hpp"

#include <caf/all.hpp>
#include <chrono>
#include <string>
#include <utility>

#define WEIR_FE_1(m, x) m(x)
#define WEIR_FE_2(m, x, ...) m(x), WEIR_FE_1(m, __VA_ARGS__)
#define WEIR_FE_3(m, x, ...) m(x), WEIR_FE_2(m, __VA_ARGS__)
#define WEIR_FE_4(m, x, ...) m(x), WEIR_FE_3(m, __VA_ARGS__)
#define WEIR_FE_5(m, x, ...) m(x), WEIR_FE_4(m, __VA_ARGS__)
#define WEIR_FE_6(m, x, ...) m(x), WEIR_FE_5(m, __VA_ARGS__)
#define WEIR_FE_7(m, x, ...) m(x), WEIR_FE_6(m, __VA_ARGS__)
#define WEIR_FE_8(m, x, ...) m(x), WEIR_FE_7(m, __VA_ARGS__)
#define WEIR_FE_9(m, x, ...) m(x), WEIR_FE_8(m, __VA_ARGS__)
#define WEIR_FE_PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, N, ...) N
#define WEIR_FE(m, ...) \
  WEIR_FE_PICK(__VA_ARGS__, WEIR_FE_9, WEIR_FE_8, WEIR_FE_7, WEIR_FE_6, WEIR_FE_5, WEIR_FE_4, WEIR_FE_3, WEIR_FE_2, WEIR_FE_1, )(m, __VA_ARGS__)
#define WEIR_WIRE_FIELD(x) obj.x

/// The members of a message, in wire order: append-only within a wire version, since the wire is positional and silent about mistakes.
#define WEIR_MESSAGE(type, ...)                                                  \
  template <class Inspector>                                                     \
  typename Inspector::result_type inspect(Inspector& f, type& obj) {             \
    return f(caf::meta::type_name(#type), WEIR_FE(WEIR_WIRE_FIELD, __VA_ARGS__)); \
  }
#define WEIR_MESSAGE_EMPTY(type)                                    \
  template <class Inspector>                                        \
  typename Inspector::result_type inspect(Inspector& f, type&) {    \
    return f(caf::meta::type_name(#type));                          \
  }

namespace weir {

template <class Signature>
struct signature;
template <class Reply, class... Message>
struct signature<Reply(Message...)> {
  using type = typename caf::replies_to<Message...>::template with<Reply>;
};
template <class... Message>
struct signature<void(Message...)> {
  using type = caf::reacts_to<Message...>;
};
template <class... Signatures>
using typed_actor_t = caf::typed_actor<typename signature<Signatures>::type...>;

template <class Self, class Handle, class Message>
void tell(Self* self, const Handle& whom, Message&& message) {
  if (whom)
    self->send(whom, std::forward<Message>(message));
}
template <class Self, class Rep, class Period, class Handle, class Message>
void tell_after(Self* self, std::chrono::duration<Rep, Period> delay, const Handle& whom, Message&& message) {
  self->delayed_send(whom, delay, std::forward<Message>(message));
}
/// Every request has a time-out: CAF does not fail a request whose receiver's node has gone.
template <class Self, class Rep, class Period, class Handle, class Message>
auto ask(Self* self, std::chrono::duration<Rep, Period> deadline, const Handle& whom, Message&& message) {
  return self->request(whom, caf::duration{deadline}, std::forward<Message>(message));
}
template <class Handle, class Message>
void tell_anon(const Handle& whom, Message&& message) {
  if (whom)
    caf::anon_send(whom, std::forward<Message>(message));
}

/// Supervision by links: a parent spawns with caf::linked. The end of a child reaches `handle(address, reason)`, which says whether it was one; the end of
/// anyone else who is linked (the parent's own parent) ends the parent too, and with it all of its children.
template <class Self, class F>
void on_end_of_child(Self* self, F handle) {
  self->set_exit_handler([self, handle](caf::exit_msg& end) {
    if (!handle(end.source, end.reason))
      self->quit(end.reason ? end.reason : caf::error{caf::exit_reason::user_shutdown});
  });
}
/// Ends one child at once; its end is reported as any other. By nobody: an exit message of ours would undo the link at the child's end, and the reason `kill`
/// would come back over the link as fatal to us.
template <class Handle>
void kill_child(const Handle& child) {
  caf::anon_send_exit(child, caf::exit_reason::user_shutdown);
}
/// Ends one child on purpose: its end is no longer reported.
template <class Self, class Handle>
void end_child(Self* self, Handle& child) {
  if (!child)
    return;
  self->unlink_from(child);
  self->send_exit(child, caf::exit_reason::user_shutdown);
  child = nullptr;
}

/// Our errors as CAF's, so that a handler can return them: category "weir", the code, the text as context.
inline caf::error to_caf(const error& e) {
  return caf::error{static_cast<std::uint8_t>(e.code), caf::atom("weir"), caf::make_message(e.text)};
}
inline error from_caf(const caf::error& e) {
  if (e.category() == caf::atom("weir") && e.context().match_elements<std::string>())
    return {static_cast<error_code>(e.code()), e.context().get_as<std::string>(0)};
  if (e == caf::sec::request_timeout)
    return {error_code::timeout, "no answer within the deadline"};
  if (e == caf::sec::request_receiver_down)
    return {error_code::unavailable, "the actor that should answer is not there"};
  return {error_code::internal, caf::to_string(e)};
}
/// What the actor's behavior does not name goes to `whom()` as if its sender had sent it there: answers go straight back. Without one, requests fail with `why`.
template <class Self, class Whom>
void forward_the_rest(Self* self, Whom whom, error why) {
  self->set_default_handler([=](caf::scheduled_actor*, caf::message_view& view) -> caf::result<caf::message> {
    auto to = whom();
    auto promise = self->make_response_promise();
    if (to)
      promise.delegate(to, view.move_content_to_message());
    else if (!promise.async()) // who only tells would take an error for a reason to end
      promise.deliver(to_caf(why));
    return caf::delegated<caf::message>{};
  });
}

/// An expected as a handler's result.
template <class T>
caf::result<T> reply(expected<T> x) {
  if (!x)
    return to_caf(x.error());
  return std::move(*x);
}

} // namespace weir
