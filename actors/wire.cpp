#include "actors/wire.hpp"

#include "actors/interfaces.hpp"

#include <fmt/format.h>

#include <set>

namespace weir {
namespace {

// The messages of an interface: signatures are typed_mpi<type_list<message…>, output_tuple<reply…>>.
template <class F, class... In, class... Out>
void each_message(F& f, caf::typed_mpi<caf::detail::type_list<In...>, caf::output_tuple<Out...>>*) {
  auto one = [&]<class T>(T*) {
    if constexpr (!std::is_void_v<T> && !caf::is_allowed_unsafe_message_type<T>::value)
      f.template operator()<T>();
  };
  (one(static_cast<In*>(nullptr)), ...);
  (one(static_cast<Out*>(nullptr)), ...);
}
template <class F, class... Signature>
void each_signature(F& f, caf::detail::type_list<Signature...>*) {
  (each_message(f, static_cast<Signature*>(nullptr)), ...);
}
/// Calls f<T>() for each message type that may travel; more than once where several interfaces share one.
template <class F>
void each_wire_type(F f) {
  each_signature(f, static_cast<door_actor::signatures*>(nullptr));
  each_signature(f, static_cast<coordinator_actor::signatures*>(nullptr));
  each_signature(f, static_cast<node_actor::signatures*>(nullptr));
  each_signature(f, static_cast<task_actor::signatures*>(nullptr));
  each_signature(f, static_cast<edge_farm_actor::signatures*>(nullptr));
  each_signature(f, static_cast<watcher_actor::signatures*>(nullptr));
  each_signature(f, static_cast<introspection_actor::signatures*>(nullptr));
}

/// An inspector that writes down what it would read: "beat(weir::id(s),s,node_load(…),[lease(…)])".
class form_writer {
public:
  using result_type = void;
  static constexpr bool reads_state = true;
  static constexpr bool writes_state = false;

  template <class... T>
  void operator()(T&&... parts) {
    (write(parts), ...);
  }
  std::string text;

private:
  template <class T>
  void write(const T& x) {
    using type = std::decay_t<T>;
    if constexpr (std::is_same_v<type, caf::meta::type_name_t>)
      text += x.value;
    else if constexpr (caf::meta::is_annotation<type>::value)
      ;
    else if constexpr (std::is_same_v<type, bool>)
      text += "b";
    else if constexpr (std::is_enum_v<type>)
      text += fmt::format("e{}", sizeof(type));
    else if constexpr (std::is_integral_v<type>)
      text += fmt::format("{}{}", std::is_signed_v<type> ? "i" : "u", sizeof(type));
    else if constexpr (std::is_floating_point_v<type>)
      static_assert(!std::is_floating_point_v<type>, "CAF 0.17 hangs on infinity: send thousandths as integers");
    else if constexpr (std::is_same_v<type, std::string>)
      text += "s";
    else if constexpr (caf::is_actor_handle<type>::value || std::is_same_v<type, caf::strong_actor_ptr>)
      text += "a";
    else if constexpr (requires { typename type::period; })
      text += fmt::format("d{}/{}", type::period::num, type::period::den);
    else if constexpr (requires { typename type::clock; })
      text += "t";
    else if constexpr (requires { typename type::mapped_type; }) {
      text += "{";
      write(typename type::key_type{});
      text += ":";
      write(typename type::mapped_type{});
      text += "}";
    } else if constexpr (requires { typename type::value_type; x.size(); }) {
      text += "[";
      write(typename type::value_type{});
      text += "]";
    } else {
      text += "(";
      type mine{};
      inspect(*this, mine);
      text += ")";
    }
    text += ",";
  }
};

} // namespace

void add_wire_types(caf::actor_system_config& config) {
  each_wire_type([&]<class T> {
    if constexpr (!caf::is_actor_handle<T>::value)
      config.add_message_type<T>(typeid(T).name()); // the Itanium name: the same from every compiler that we build with
  });
}

std::string wire_form() {
  std::set<std::string> forms;
  each_wire_type([&]<class T> {
    form_writer one;
    one(T{});
    forms.insert(typeid(T).name() + one.text);
  });
  std::uint64_t hash = 14695981039346656037ull; // FNV-1a
  for (auto& form : forms)
    for (unsigned char c : form)
      hash = (hash ^ c) * 1099511628211ull;
  return fmt::format("{:016x}", hash);
}

} // namespace weir
