package udp

const sysSENDMMSG = 345 // package syscall's list is older than the call
