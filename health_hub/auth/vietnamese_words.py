"""Words that Vietnamese passwords are made of, without their marks, the commonest first: the dictionary zxcvbn does not have."""

# Passwords, and what they begin with.
_PASSWORDS = """
matkhau anhyeuem emyeuanh vietnam khongco khongbiet anhnhoem iloveyou yeuem yeuanh quenroi maiyeu mottinhyeu tinhyeu conmemay xinchao
hanoi saigon thainguyen sonla tayninh haiphong danang cantho hochiminh doimatkhau matkhaumoi matkhaucu matkhaucuatoi nhumatkhau
emoi anhoi vochong vothoi chongyeu voyeu conyeu mecon bome bame giadinh concho conmeo gaubong congchua hoangtu thienthan
benhvien bacsi bacsy dieuduong tramyte trungtamyte ytexa phongkham syt soyte benhnhan suckhoe healthhub hosobenhan admin quantri
vinaphone viettel mobifone vnpt zalo facebook google tichluy taikhoan dangnhap dongy khongcogi bimat bimatquocgia
toiyeuvietnam vietnamvodich vodich bongda manutd chelsea arsenal sontung hoaminzy nuocngoai tiengviet tienganh hocsinh sinhvien
motnam motngay namnay namsau cuocsong hanhphuc binhan mayman phattai thanhcong thangloi tuonglai
"""
# Syllables of names, of months and numbers, and of everyday speech.
_SYLLABLES = """
nguyen tran le pham hoang huynh phan vu vo dang bui do ho ngo duong ly nong ma luong ha trieu ban luc truong dinh hua dao mai cao ta
van thi huu duc minh quang xuan dinh cong thu ngoc thanh thuy kim hong bich tuyet phuong linh trang huyen hien hang nga hanh
hung dung tuan hai son thang long dat khoi phuc bao hieu nghia hoa lan huong thao anh yen nhung dieu oanh phuong quynh loan giang nhi
my tam khanh nam trung kien cuong manh tien toan vinh quan khoa hoc tri tung lam binh an phu
mot hai ba bon sau bay tam chin muoi tram nghin trieu thang nam ngay dem sang chieu toi hom mai
yeu em toi ban con me bo cha ong bac chu co di cau mo vo chong nha xe dien nuoc com pho bun cha ca phe tra sua
khong co biet muon lam duoc roi nhe day kia nao sao gi mat khau tai khoan ngan hang tien vang bac gao que huong dat troi mua nang
xin chao cam on tam biet hen gap lai nho thuong ghet buon vui
"""
PASSWORDS, SYLLABLES = _PASSWORDS.split(), _SYLLABLES.split()
