// What a person reads, Vietnamese first; t() gives a text in the language chosen, translate() fills a page with it.

const TEXTS = {
  "title": ["Phòng khám từ xa", "Consultation room"],
  "brand": ["Health Hub", "Health Hub"],
  "language": ["Ngôn ngữ", "Language"],
  "close": ["Đóng", "Close"],
  "cancel": ["Thôi", "Cancel"],
  "you": ["Bạn", "You"],
  "stage": ["Hình của mọi người", "Everyone's pictures"],
  "bar": ["Điều khiển cuộc khám", "Call controls"],

  "check.title": ["Kiểm tra trước khi vào", "Check before you enter"],
  "check.lead": ["Xem hình và thử tiếng của bạn. Chưa ai thấy hay nghe bạn lúc này.", "Look at your picture and try your sound. Nobody sees or hears you yet."],
  "check.preview": ["Hình của chính bạn", "Your own picture"],
  "check.no-camera": ["Không có hình. Bạn vẫn vào được bằng tiếng.", "No picture. You can still enter with sound."],
  "check.level": ["Độ lớn của tiếng bạn", "How loud you are"],
  "check.say": ["Hãy nói thử: vạch phải nhảy theo tiếng bạn.", "Say something: the bar should move with your voice."],
  "check.heard": ["Nghe rõ tiếng của bạn.", "Your voice is heard."],
  "check.silent": ["Chưa nghe thấy tiếng. Hãy nói to hơn hoặc chọn micro khác.", "No sound heard yet. Speak louder or choose another microphone."],
  "check.mic": ["Micro", "Microphone"],
  "check.camera": ["Máy ảnh", "Camera"],
  "check.speaker": ["Loa", "Speaker"],
  "check.none": ["Không dùng", "None"],
  "check.number": ["Thiết bị {n}", "Device {n}"],
  "check.tone": ["Thử loa", "Try the speaker"],
  "check.audio-only": ["Chỉ dùng tiếng", "Sound only"],
  "check.audio-only-hint": ["Khi mạng rất yếu hoặc tốn dữ liệu.", "For a very weak link or costly data."],
  "check.enter": ["Vào phòng khám", "Enter the room"],
  "check.entering": ["Đang vào…", "Entering…"],
  "check.denied": ["Trình duyệt chưa cho dùng micro và máy ảnh. Bấm biểu tượng ổ khóa cạnh địa chỉ trang, chọn Cho phép, rồi tải lại trang.",
    "The browser does not let us use microphone and camera. Press the lock beside the page's address, choose Allow, then load the page again."],
  "check.missing": ["Không tìm thấy micro hay máy ảnh. Hãy cắm vào rồi thử lại; bạn vẫn vào được để nghe và viết.",
    "No microphone or camera found. Plug one in and try again; you can still enter to listen and write."],
  "check.busy": ["Chương trình khác đang dùng micro hoặc máy ảnh. Hãy tắt chương trình đó.", "Another program is using the microphone or camera. Close it."],
  "check.insecure": ["Trang phải mở bằng https để dùng micro và máy ảnh.", "The page must be opened with https to use microphone and camera."],

  "waiting.title": ["Phòng chờ", "Waiting room"],
  "waiting.text": ["Bác sĩ đã được báo là bạn đang đợi và sẽ mời bạn vào.", "The doctor knows that you are waiting and will let you in."],
  "waiting.lost": ["Mất kết nối, đang tự nối lại. Bạn vẫn giữ chỗ.", "Connection lost, reconnecting by itself. You keep your place."],
  "waiting.keep": ["Xin giữ trang này mở.", "Please keep this page open."],
  "waiting.leave": ["Không đợi nữa", "Stop waiting"],

  "over.again": ["Vào lại", "Enter again"],
  "over.back": ["Về trang chính", "Back to the main page"],
  "over.left": ["Bạn đã rời phòng khám", "You have left the room"],
  "over.left-text": ["Cảm ơn bạn. Có thể đóng trang này.", "Thank you. You may close this page."],
  "over.ended": ["Buổi khám đã kết thúc", "The consultation has ended"],
  "over.refused": ["Bạn chưa được mời vào", "You were not let in"],
  "over.removed": ["Bạn đã được mời ra", "You were removed"],
  "over.replaced": ["Bạn đã vào ở nơi khác", "You came in elsewhere"],
  "over.token": ["Đường vào đã hết hạn", "This way in has ended"],
  "over.token-text": ["Hãy mở lại phòng khám từ tin nhắn hoặc trang hẹn khám của bạn.", "Open the room again from your message or appointment page."],
  "over.failed": ["Không vào được phòng khám", "The room could not be entered"],
  "over.failed-text": ["Có lỗi xảy ra. Hãy thử lại; nếu vẫn không được, gọi cho cơ sở y tế.", "Something went wrong. Try again; if it still fails, call your health facility."],

  "state.scheduled": ["Đã hẹn", "Scheduled"],
  "state.waiting": ["Có người đợi", "Someone is waiting"],
  "state.admitted": ["Đã mở phòng", "Open"],
  "state.live": ["Đang khám", "In consultation"],
  "state.interrupted": ["Bị gián đoạn", "Interrupted"],
  "state.ended": ["Đã kết thúc", "Ended"],

  "role.patient": ["Người bệnh", "Patient"],
  "role.carer": ["Người nhà", "Carer"],
  "role.nurse": ["Điều dưỡng trạm", "Station nurse"],
  "role.doctor": ["Bác sĩ", "Doctor"],
  "role.specialist": ["Chuyên khoa", "Specialist"],
  "role.interpreter": ["Phiên dịch", "Interpreter"],
  "role.observer": ["Quan sát", "Observer"],
  "role.watcher": ["Người xem", "Watcher"],
  "role.device": ["Thiết bị", "Device"],

  "alone": ["Chưa có ai khác trong phòng. Xin đợi trong giây lát.", "Nobody else is in the room yet. Please wait a moment."],
  "tile.screen": ["Màn hình của {name}", "{name}'s screen"],
  "tile.muted": ["Đã tắt micro", "Microphone off"],
  "tile.camera-off": ["Đã tắt máy ảnh", "Camera off"],
  "tile.lost": ["Đang đợi {name} nối lại…", "Waiting for {name} to reconnect…"],
  "tile.bandwidth": ["Mạng yếu: đang giữ tiếng, tạm dừng hình", "Weak link: keeping sound, picture paused"],
  "tile.source": ["Mạng phía {name} yếu: hình tạm dừng", "{name}'s link is weak: picture paused"],
  "tile.source-device": ["Máy phía {name} chậm: hình tạm dừng", "{name}'s device is slow: picture paused"],
  "tile.asked": ["Bạn đang chọn chỉ nghe tiếng", "You chose sound only"],
  "tile.lower": ["Hình kém nét hơn vì mạng yếu", "Less sharp because the link is weak"],
  "tile.lower-source": ["Hình kém nét hơn vì mạng hoặc máy phía {name} yếu", "Less sharp because {name}'s link or device is slow"],
  "tile.lower-source-device": ["Hình kém nét hơn vì máy phía {name} chậm", "Less sharp because {name}'s device is slow"],
  "tile.lower-source-link": ["Hình kém nét hơn vì mạng phía {name} yếu", "Less sharp because {name}'s link is weak"],
  "tile.pin": ["Phóng to {name}", "Enlarge {name}"],
  "weak.paused": ["Mạng yếu: đang giữ tiếng, tạm dừng hình", "Weak link: keeping sound, pictures paused"],
  "weak.paused-why": ["Đường truyền của bạn không đủ cho cả hình. Hình sẽ tự trở lại khi mạng khá hơn; cứ nói tiếp.", "Your link cannot carry pictures as well. They come back by themselves when it improves; keep talking."],
  "weak.lower": ["Mạng yếu: hình được giảm nét để tiếng không ngắt", "Weak link: pictures are less sharp so that sound does not break"],
  "weak.device": ["Máy của bạn đang chậm: hình bạn gửi đi kém nét hơn", "Your device is slow: your own picture is sent less sharp"],
  "weak.device-why": ["Hãy đóng bớt ứng dụng khác.", "Close other applications."],
  "weak.up": ["Mạng yếu: hình bạn gửi đi được giảm để tiếng không ngắt", "Weak link: your own picture is sent smaller so that your sound does not break"],
  "weak.up-none": ["Mạng yếu: tạm dừng gửi hình của bạn, vẫn giữ tiếng", "Weak link: your own picture is paused, your sound goes on"],
  "weak.up-why": ["Chiều gửi đi của bạn đang quá tải. Hình tự trở lại khi mạng khá hơn.", "What your link can send is used up. The picture comes back by itself when it improves."],
  "weak.sound": ["Mạng rất yếu: tiếng có thể bị ngắt", "Very weak link: sound may break up"],
  "weak.sound-why": ["Nếu không nghe được nhau, hãy viết tin hoặc ghi lời nhắn để gửi sau.", "If you cannot hear each other, write, or record a message to be sent later."],
  "unmute": ["Bấm để nghe tiếng", "Press to hear sound"],

  "bar.mic": ["Micro", "Mic"],
  "bar.camera": ["Hình", "Camera"],
  "bar.chat": ["Tin nhắn", "Chat"],
  "bar.people": ["Mọi người", "People"],
  "bar.more": ["Thêm", "More"],
  "bar.leave": ["Rời phòng", "Leave"],
  "mic.on": ["Micro đang bật", "Microphone on"],
  "mic.off": ["Micro đang tắt", "Microphone off"],
  "camera.on": ["Máy ảnh đang bật", "Camera on"],
  "camera.off": ["Máy ảnh đang tắt", "Camera off"],
  "muted-by": ["Micro của bạn đã được tắt từ phía bác sĩ. Bạn có thể bật lại.", "Your microphone was turned off by the doctor. You may turn it on again."],

  "chat.title": ["Tin nhắn", "Chat"],
  "chat.write": ["Viết tin nhắn", "Write a message"],
  "chat.send": ["Gửi", "Send"],
  "chat.attach": ["Gửi tệp hoặc ảnh (đến 10 MB)", "Send a file or picture (up to 10 MB)"],
  "chat.new": ["{name}: {text}", "{name}: {text}"],
  "chat.waiting": ["Sẽ gửi khi có mạng", "Will be sent when the link is back"],
  "chat.failed": ["Chưa gửi được: {why}", "Not sent: {why}"],
  "file.big": ["Tệp lớn hơn 10 MB.", "The file is larger than 10 MB."],
  "file.empty": ["Tệp này trống.", "The file is empty."],
  "file.offline": ["Chưa gửi được tệp vì mất kết nối. Hãy gửi lại khi có mạng.", "The file could not be sent because the link is down. Send it again when it is back."],
  "file.sending": ["Đang gửi {name}", "Sending {name}"],
  "file.getting": ["Đang nhận {name}", "Receiving {name}"],
  "file.broken": ["{name}: chưa nhận đủ, xin gửi lại.", "{name}: incomplete, please send it again."],
  "file.save": ["Tải về {name} ({size})", "Save {name} ({size})"],
  "file.got": ["{name} đã gửi tệp {file}", "{name} sent the file {file}"],
  "file.picture": ["Ảnh {name}", "Picture {name}"],

  "people.title": ["Mọi người trong phòng", "People in the room"],
  "people.waiting": ["Đang đợi ở ngoài", "Waiting outside"],
  "people.admit": ["Mời vào", "Let in"],
  "people.admit-all": ["Mời tất cả vào", "Let everyone in"],
  "people.refuse": ["Từ chối", "Refuse"],
  "people.asks": ["{name} ({role}) đang đợi để vào", "{name} ({role}) is waiting to come in"],
  "people.mute": ["Tắt micro", "Mute"],
  "people.remove": ["Mời ra", "Remove"],
  "people.remove-sure": ["Bấm lần nữa để mời {name} ra", "Press again to remove {name}"],
  "people.watchers": ["{n} người xem", "{n} watching"],
  "people.hand": ["Giơ tay", "Hand raised"],
  "people.hand-up": ["{name} giơ tay", "{name} raised a hand"],
  "people.down": ["mất kết nối", "disconnected"],
  "people.came": ["{name} đã vào", "{name} came in"],
  "people.gone": ["{name} đã rời phòng", "{name} left"],
  "people.lost": ["{name} mất kết nối", "{name} lost the connection"],

  "more.title": ["Thêm", "More"],
  "screen.start": ["Chia sẻ màn hình", "Share screen"],
  "screen.stop": ["Dừng chia sẻ", "Stop sharing"],
  "screen.failed": ["Không chia sẻ được màn hình.", "The screen could not be shared."],
  "hand.up": ["Giơ tay", "Raise hand"],
  "hand.down": ["Hạ tay", "Lower hand"],
  "devices.title": ["Thiết bị", "Devices"],
  "low.title": ["Tiết kiệm đường truyền", "Save bandwidth"],
  "low.auto": ["Tự động", "Automatic"],
  "low.auto-hint": ["Giữ tiếng trước, hình theo sức mạng.", "Sound first, pictures as the link allows."],
  "low.low": ["Hình nhỏ", "Small picture"],
  "low.low-hint": ["Hình kém nét, ít dữ liệu.", "Less sharp, little data."],
  "low.audio": ["Chỉ tiếng", "Sound only"],
  "low.audio-hint": ["Chỉ khoảng 20 đến 30 MB mỗi giờ.", "Only some 20 to 30 MB an hour."],

  "quality.title": ["Chất lượng kết nối", "Connection quality"],
  "quality.0": ["Mất kết nối", "No connection"],
  "quality.1": ["Rất yếu", "Very weak"],
  "quality.2": ["Yếu", "Weak"],
  "quality.3": ["Khá", "Fair"],
  "quality.4": ["Tốt", "Good"],
  "quality.means-0": ["Đang tự nối lại.", "Reconnecting by itself."],
  "quality.means-1": ["Tiếng hay bị ngắt, hình phải dừng. Hãy lại gần nơi có sóng, hoặc viết tin.", "Sound breaks up and pictures stop. Move to better reception, or write."],
  "quality.means-2": ["Nghe được nhưng đôi lúc ngắt; hình kém nét hoặc dừng.", "Sound comes through with breaks; pictures are poor or paused."],
  "quality.means-3": ["Nghe rõ; hình có lúc kém nét.", "Sound is clear; pictures may be less sharp at times."],
  "quality.means-4": ["Nghe và nhìn rõ.", "Sound and picture are clear."],
  "quality.measuring": ["Đang đo…", "Measuring…"],
  "quality.lost": ["Gói mất", "Lost packets"],
  "quality.jitter": ["Dao động", "Jitter"],
  "quality.round": ["Đi và về", "Round trip"],
  "quality.down": ["Nhận", "Receiving"],
  "quality.up": ["Gửi", "Sending"],
  "quality.mos": ["Điểm tiếng", "Sound score"],
  "quality.label": ["Chất lượng kết nối: {word}. Xem chi tiết", "Connection quality: {word}. Show details"],

  "lost.title": ["Mất kết nối", "Connection lost"],
  "lost.text": ["Đang tự nối lại. Xin giữ trang này mở.", "Reconnecting by itself. Please keep this page open."],
  "lost.offline": ["Máy của bạn đang không có mạng. Sẽ tự nối lại ngay khi có mạng.", "Your device has no network. It reconnects as soon as there is one."],
  "lost.full": ["Máy chủ đang bận. Sẽ tự thử lại.", "The server is busy. Trying again by itself."],
  "lost.media": ["Đang nối lại hình và tiếng…", "Reconnecting sound and picture…"],
  "lost.now": ["Thử lại ngay", "Try now"],
  "lost.message": ["Ghi lời nhắn gửi sau", "Record a message for later"],
  "lost.back": ["Đã nối lại.", "Reconnected."],

  "record.start": ["Ghi hình buổi khám", "Record"],
  "record.stop": ["Dừng ghi", "Stop recording"],
  "record.on": ["ĐANG GHI", "RECORDING"],
  "record.asking": ["Đang hỏi ý kiến để ghi", "Asking to record"],
  "record.paused": ["Tạm dừng ghi", "Recording paused"],
  "record.refused": ["Không ghi: {names} không đồng ý.", "Not recording: {names} did not agree."],
  "record.stopped": ["Đã dừng ghi.", "Recording stopped."],
  "record.failed": ["Ghi bị lỗi và đã dừng.", "Recording failed and has stopped."],
  "record.disk-full": ["Đã dừng ghi: máy chủ hết chỗ lưu.", "Recording stopped: the server has no room left."],
  "record.limit": ["Đã dừng ghi: bản ghi đã đến giới hạn.", "Recording stopped: it is as long or as large as one may be."],
  "record.timeout": ["Không ghi: chưa đủ người trả lời.", "Not recording: not everyone answered."],
  "record.someone": ["một người", "someone"],
  "consent.title": ["Đồng ý ghi hình?", "Agree to recording?"],
  "consent.text": ["{name} muốn ghi lại tiếng và hình của buổi khám này để lưu vào hồ sơ.", "{name} would like to record sound and picture of this consultation for the record."],
  "consent.free": ["Bạn có quyền không đồng ý; buổi khám vẫn tiếp tục như thường. Bạn cũng có thể rút lại bất cứ lúc nào.", "You may say no; the consultation goes on all the same. You may also withdraw at any time."],
  "consent.yes": ["Đồng ý", "I agree"],
  "consent.no": ["Không đồng ý", "I do not agree"],
  "consent.withdraw": ["Rút lại đồng ý ghi", "Withdraw consent"],

  "leave.title": ["Rời phòng khám?", "Leave the room?"],
  "leave.text": ["Bạn có thể vào lại khi buổi khám chưa kết thúc.", "You can come back while the consultation goes on."],
  "leave.leave": ["Rời phòng", "Leave"],
  "leave.end": ["Kết thúc buổi khám cho mọi người", "End the consultation for everyone"],
  "leave.stay": ["Ở lại", "Stay"],

  "vitals.title": ["Dấu hiệu sinh tồn", "Vital signs"],
  "vitals.enter": ["Nhập", "Enter"],
  "vitals.enter-title": ["Nhập dấu hiệu sinh tồn", "Enter vital signs"],
  "vitals.pulse": ["Mạch", "Pulse"],
  "vitals.spo2": ["SpO₂", "SpO₂"],
  "vitals.pressure": ["Huyết áp", "BP"],
  "vitals.temperature": ["Nhiệt độ", "Temp"],
  "vitals.pulse-unit": ["Mạch (lần/phút)", "Pulse (per minute)"],
  "vitals.spo2-unit": ["SpO₂ (%)", "SpO₂ (%)"],
  "vitals.systolic": ["Tâm thu (mmHg)", "Systolic (mmHg)"],
  "vitals.diastolic": ["Tâm trương (mmHg)", "Diastolic (mmHg)"],
  "vitals.temperature-unit": ["Nhiệt độ (°C)", "Temperature (°C)"],
  "vitals.odd": ["ngoài khoảng thường gặp ở người lớn", "outside the usual range of adults"],
  "vitals.from": ["{who}, {time}", "{who}, {time}"],
  "vitals.none": ["Chưa có số đo", "No values yet"],
  "vitals.show": ["Hiện cho mọi người", "Show to everyone"],
  "vitals.invalid": ["Xem lại số: {fields}.", "Check: {fields}."],
  "vitals.empty": ["Nhập ít nhất một số.", "Enter at least one value."],
  "vitals.pair": ["Huyết áp cần cả hai số.", "Blood pressure needs both values."],
  "vitals.per-minute": ["/phút", "/min"],

  "message.make": ["Ghi lời nhắn", "Record a message"],
  "message.title": ["Lời nhắn gửi sau", "Message for later"],
  "message.lead": ["Lời nhắn được ghi trên máy này và tự gửi từng phần khi có mạng, kể cả khi mạng hay ngắt.", "The message is recorded on this device and sent in pieces when there is a link, even one that keeps breaking."],
  "message.record": ["Bắt đầu ghi", "Start recording"],
  "message.stop": ["Dừng và gửi", "Stop and send"],
  "message.progress": ["Phần đã gửi", "Part sent"],
  "message.recording": ["Đang ghi: {time}", "Recording: {time}"],
  "message.kept": ["Lời nhắn được giữ trên máy này, sẽ tự gửi khi có mạng.", "The message is kept on this device and will be sent when there is a link."],
  "message.sending": ["Đang gửi lời nhắn: {percent}%", "Sending the message: {percent}%"],
  "message.sent": ["Đã gửi lời nhắn.", "The message has been sent."],
  "message.refused": ["Máy chủ chưa nhận lời nhắn. Lời nhắn vẫn được giữ trên máy này.", "The server did not take the message. It is still kept on this device."],
  "letters.title": ["Lời nhắn đã nhận", "Messages received"],
  "letters.new": ["Có lời nhắn mới của {name}.", "A new message from {name}."],
  "letters.open": ["Mở lời nhắn", "Open"],
  "letters.opening": ["Đang mở…", "Opening…"],
  "letters.failed": ["Chưa mở được lời nhắn, hãy thử lại.", "The message could not be opened; try again."],
  "letters.from": ["Lời nhắn của {name}", "Message from {name}"],
  "message.cannot": ["Máy này không ghi được lời nhắn.", "This device cannot record a message."],
};

export const LANGUAGES = ["vi", "en"];
let language = stored() ?? "vi";
const listeners = new Set();

function stored() {
  try {
    const found = localStorage.getItem("hh-lang") ?? document.cookie.match(/(?:^|; )lang=(vi|en)/)?.[1];
    return LANGUAGES.includes(found) ? found : null;
  } catch { return null; }
}

export const lang = () => language;

/** The text `key`, its {places} filled from `values`. */
export function t(key, values = {}) {
  const found = TEXTS[key];
  if (!found) return key;
  return found[LANGUAGES.indexOf(language)].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** From `{vi, en}` as the relay sends texts. */
export const own = (text) => text?.[language] ?? text?.vi ?? "";

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language === "vi" ? "vi-VN" : "en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

export const clock = (time) => new Date(time).toLocaleTimeString(language === "vi" ? "vi-VN" : "en-GB", { hour: "2-digit", minute: "2-digit" });

const PLACES = { t: "textContent", tLabel: "aria-label", tTitle: "title", tPlaceholder: "placeholder" };

/** Fills every element with data-t, data-t-label, data-t-title (also its accessible name) and data-t-placeholder. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-t], [data-t-label], [data-t-title], [data-t-placeholder]")) {
    for (const [name, place] of Object.entries(PLACES)) {
      const key = element.dataset[name];
      if (key === undefined) continue;
      if (place === "textContent") element.textContent = t(key);
      else element.setAttribute(place, t(key));
      if (name === "tTitle") element.setAttribute("aria-label", t(key));
    }
  }
}

export function choose(next) {
  if (!LANGUAGES.includes(next)) return;
  language = next;
  try { localStorage.setItem("hh-lang", next); } catch { /* private window: forgotten with it */ }
  document.documentElement.lang = next;
  document.title = `${t("title")} · ${t("brand")}`;
  translate();
  for (const listener of listeners) listener(next);
}

/** `listener` is called whenever the language changes. */
export function onLanguage(listener) { listeners.add(listener); }
